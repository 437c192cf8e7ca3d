"""What a run in MLflow holds of a fit."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from stages import files as _files
from stages.errors import UserError
from stages.params import Params
from stages.prepare import __main__ as prepare
from stages.runs import fitted, logged_model, tracking
from stages.train import __main__ as train

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:::mlflow"),
]
TARGETS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "binary": lambda table: table["y"],
    "boolean": lambda table: table["le"] > 0,
    "multiclass": lambda table: pd.cut(table["le"], [-9, -0.5, 0.5, 9], labels=[1, 2, 3]).astype(int),
    "regression": lambda table: table["le"] * 3 + table["flag"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Work in a folder with a store of its own."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("fitted")
        patch.chdir(path)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}/mlflow.db")
        yield path


Log = Callable[..., Run]


@pytest.fixture
def log(folder: Path, table: pd.DataFrame, params: Callable[..., Params]) -> Log:
    """Give a function that fits and logs a model of the small table; it gives the run."""

    def fit_and_log(target: str = "binary", data: dict[str, Any] | None = None, **changes: Any) -> Run:
        table["y"] = TARGETS[target](table)
        wanted = params(data={"positive": None} | (data or {}), **changes)
        rows, _, schema = prepare.prepare(table, wanted)
        for path in (_files.TRAIN, _files.MODEL):
            path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(_files.TRAIN)
        with fitted.start_run(tracking.connect("flights"), wanted) as active:
            with fitted.autologging(rows) as logged:
                pipeline = train.train(logged, schema.contract, wanted)
            joblib.dump(pipeline, _files.MODEL)
            fitted.finish(pipeline, schema.contract)
        return MlflowClient().get_run(active.info.run_id)

    return fit_and_log


@pytest.mark.parametrize(
    ("target", "metric"),
    [
        ("binary", "training_roc_auc"),
        ("boolean", "training_roc_auc"),
        ("multiclass", "training_f1_score"),
        ("regression", "training_r2_score"),
    ],
)
def test_autologging_notes_estimator_parameters_and_training_metrics(log: Log, target: str, metric: str) -> None:
    run = log(target)

    assert metric in run.data.metrics
    assert run.data.params["estimator__n_estimators"] == "10"
    assert run.data.tags["estimator_name"] == "Pipeline"


def test_a_run_holds_all_parameters_and_says_what_it_is(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracking.EXPERIMENT, "tidy-ants")
    run = log(max_depth=3)

    assert run.data.params["max_depth"] == "3"
    assert run.data.params["register.tolerance"] == "0.005"
    assert run.info.run_name == run.data.tags[tracking.EXPERIMENT] == "tidy-ants"
    assert run.data.tags[tracking.MODEL_MD5] == _files.md5(_files.MODEL)


def test_a_list_too_long_for_mlflow_does_not_stop_the_run(log: Log) -> None:
    run = log(data={"ignore": [f"a column with a long name {number}" for number in range(2_000)]})

    assert run.data.params["data.ignore"].startswith("['a column")


def broken(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_run_that_breaks_off_is_not_taken_for_one(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracking.EXPERIMENT, "broken-off")
    monkeypatch.setattr(logged_model, "log_model", broken)
    with pytest.raises(KeyboardInterrupt):
        log()

    assert tracking.find_run(tracking.connect("flights"), _files.md5(_files.MODEL)) is None


def test_a_run_lost_on_the_way_is_never_reported_as_logged(
    log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stages")
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        gone = f"http://127.0.0.1:{listening.getsockname()[1]}"
    connect = tracking.connect

    def then_lose_it(name: str) -> str:
        experiment = connect(name)
        mlflow.set_tracking_uri(gone)
        return experiment

    # MLflow sets this variable when it is told where to go.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", os.environ["MLFLOW_TRACKING_URI"])
    monkeypatch.setattr(tracking, "connect", then_lose_it)
    with pytest.raises(UserError, match="it does not answer: Connection refused"):
        log()
    assert not [record for record in caplog.records if record.message.startswith("MLflow run")]


def test_only_the_code_that_the_pickle_needs_goes_along() -> None:
    assert [str(path) for path in logged_model.code_of("stages/estimators/steps.py")] == [
        "service/cells.py",
        "service/contract.py",
        "service/encoding.py",
        "stages/estimators/steps.py",
    ]


def test_every_package_that_this_code_imports_is_pinned() -> None:
    modules = {
        name.partition(".")[0]
        for path in logged_model.code_of("stages/estimators/steps.py")
        for name in logged_model.imported(path)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "stages", "service"}
    }
    distributions = packages_distributions()

    assert {name for module in modules for name in distributions[module]} <= {*logged_model.REQUIREMENTS}


LOADING = """
import json, sys, mlflow, pandas
rows = pandas.read_parquet(sys.argv[2])
loaded = mlflow.sklearn.load_model(sys.argv[1])
through = mlflow.pyfunc.load_model(sys.argv[1])
import service.contract, stages.estimators.steps
files = [stages.estimators.steps.__file__, service.contract.__file__]
print(json.dumps([loaded.predict(rows).tolist(), list(through.predict(rows)), files]))
"""


def uri(run: Run) -> str:
    return f"models:/{run.outputs.model_outputs[0].model_id}"  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("working", ["/", "elsewhere"])
def test_the_model_is_loaded_where_this_project_is_not(log: Log, folder: Path, tmp_path: Path, working: str) -> None:
    run = log()
    expected = joblib.load(_files.MODEL).predict(pd.read_parquet(_files.TRAIN))
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LOADING, uri(run), str(folder / _files.TRAIN)],
        cwd=tmp_path / working,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    by_sklearn, by_pyfunc, files = json.loads(done.stdout.splitlines()[-1])
    assert by_sklearn == by_pyfunc == expected.tolist()
    assert all(Path(file).is_relative_to(folder / "mlartifacts") for file in files)


def nullable(table: pd.DataFrame) -> pd.DataFrame:
    return table.convert_dtypes()


def of_categories(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: "category" for name in table if table[name].dtype.kind != "M"})


def of_text(table: pd.DataFrame) -> pd.DataFrame:
    """Give cells as a CSV file holds them."""
    return table.astype(object).where(table.notna(), "").astype(str)


def of_objects(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(object).where(table.notna(), None)


def narrowed(table: pd.DataFrame) -> pd.DataFrame:
    """Give float32 for floats, int16 for whole numbers and nanoseconds for dates."""
    kinds = {"f": "float32", "i": "int16", "M": "datetime64[ns]"}
    return table.astype({name: kinds[table[name].dtype.kind] for name in table if table[name].dtype.kind in kinds})


@pytest.mark.parametrize("change", [lambda table: table, nullable, of_categories, of_text, of_objects, narrowed])
def test_the_model_takes_its_table_whatever_pandas_makes_of_it(
    log: Log, table: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    codes = 8000 + np.arange(len(table)) % 3
    table["code"] = codes.astype(str)
    table["flag"] = table["flag"].astype(object).mask(table["le"] > 1.5)
    run = log()
    pipeline = joblib.load(_files.MODEL)
    sent = change(table.assign(code=codes))

    assert list(mlflow.pyfunc.load_model(uri(run)).predict(sent)) == list(pipeline.predict(table))
    found = mlflow.sklearn.load_model(uri(run)).predict_proba(sent)
    assert found.tolist() == pipeline.predict_proba(table).tolist()


def test_prepared_rows_and_rows_as_they_came_get_the_same_answers(log: Log, table: pd.DataFrame) -> None:
    model = mlflow.pyfunc.load_model(uri(log()))
    rows = pd.read_parquet(_files.TRAIN)
    came = table.set_index(table["le"].astype("float32")).loc[rows["le"]]

    assert list(model.predict(came)) == list(model.predict(rows))


def test_a_column_may_be_absent_where_its_values_may_be_missing(log: Log, table: pd.DataFrame) -> None:
    model = mlflow.pyfunc.load_model(uri(log()))

    assert list(model.predict(table.drop(columns="a b"))) == list(model.predict(table.assign(**{"a b": np.nan})))
    with pytest.raises(mlflow.MlflowException, match="missing inputs"):
        model.predict(table.drop(columns="le"))


def test_a_cell_that_a_feature_cannot_take_is_named(log: Log, table: pd.DataFrame) -> None:
    model = mlflow.pyfunc.load_model(uri(log()))

    with pytest.raises(ValueError, match="le: got 'much'; expected a number"):
        model.predict(table.assign(le="much"))


def test_the_input_example_is_the_contract_s_and_no_row_of_the_table(log: Log, table: pd.DataFrame) -> None:
    info = mlflow.models.get_model_info(uri(log()))
    model = mlflow.pyfunc.load_model(uri(log()))
    example = model.input_example

    assert info.signature.inputs.input_names() == list(example)
    assert not table["le"].astype("float32").isin(example["le"].astype("float32")).any()
    assert len(model.predict(example)) == len(example)


def test_autologging_changes_no_byte_of_the_model(log: Log, table: pd.DataFrame, params: Any) -> None:
    log()
    logged = _files.MODEL.read_bytes()
    rows, _, schema = prepare.prepare(table, params())
    joblib.dump(train.train(rows, schema.contract, params()), _files.MODEL)

    assert _files.MODEL.read_bytes() == logged


def test_the_cost_of_autologging_is_bounded(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitted, "AUTOLOG_ROWS", 20)
    run = log(model="extra_trees", min_samples_leaf=1, target="regression")

    # Fully grown trees know their rows by heart, and 20 of them as well as all.
    assert run.data.tags[fitted.AUTOLOGGED] == "20"
    assert run.data.metrics["training_r2_score"] > 0.99
