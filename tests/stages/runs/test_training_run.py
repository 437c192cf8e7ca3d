"""What a run in MLflow holds of a fit, and what its model accepts."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import grimp
import joblib
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from stages import files
from stages.errors import UserError
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.runs import mlflow_model, tracking, training_run
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
LOADING = """
import json, sys, mlflow, pandas
rows = pandas.read_parquet(sys.argv[2])
loaded = mlflow.sklearn.load_model(sys.argv[1])
through = mlflow.pyfunc.load_model(sys.argv[1])
import service.contract, stages.estimators.steps
files = [stages.estimators.steps.__file__, service.contract.__file__]
print(json.dumps([loaded.predict(rows).tolist(), list(through.predict(rows)), files]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Work in a folder with its own store."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("runs")
        patch.chdir(path)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}/mlflow.db")
        yield path


Log = Callable[..., Run]


@pytest.fixture
def log(folder: Path, table: pd.DataFrame, params: Callable[..., Params]) -> Log:
    """Return a function that fits and logs a model of the small table; it returns the run."""

    def fit_and_log(target: str = "binary", **changes: Any) -> Run:
        table["y"] = TARGETS[target](table)
        wanted = params(**changes)
        rows, _, schema = prepare.prepare(table, wanted)
        for path in (files.TRAIN, files.MODEL):
            path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(files.TRAIN)
        with training_run.start_run(tracking.connect("flights"), wanted) as active:
            with training_run.autologging(rows) as logged:
                pipeline = train.train(logged, schema.contract, wanted)
            joblib.dump(pipeline, files.MODEL)
            training_run.finish(pipeline, schema.contract, [])
        return MlflowClient().get_run(active.info.run_id)

    return fit_and_log


def uri(run: Run) -> str:
    return f"models:/{run.outputs.model_outputs[0].model_id}"


@pytest.mark.parametrize(
    ("target", "metric"),
    [("boolean", "training_roc_auc"), ("multiclass", "training_f1_score"), ("regression", "training_r2_score")],
)
def test_a_run_holds_the_estimator_its_parameters_and_training_metrics(
    log: Log, monkeypatch: pytest.MonkeyPatch, target: str, metric: str
) -> None:
    monkeypatch.setenv(tracking.EXPERIMENT, f"tidy-{target}")
    too_long = [f"a column with a long name {number}" for number in range(2_000)]
    run = log(target, max_depth=3, data={"ignore": too_long})

    assert metric in run.data.metrics
    assert (run.data.params["estimator__n_estimators"], run.data.params["max_depth"]) == ("10", "3")
    assert run.data.params["register.tolerance"] == "0.005"
    assert run.data.params["data.ignore"].startswith("['a column")
    assert run.data.tags["estimator_name"] == "Pipeline"
    assert run.info.run_name == run.data.tags[tracking.EXPERIMENT] == f"tidy-{target}"
    assert run.data.tags[tracking.MODEL_MD5] == files.md5(files.MODEL)


def test_autologging_is_bounded_and_changes_no_byte_of_the_model(
    log: Log, table: pd.DataFrame, params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "AUTOLOG_ROWS", 20)
    changes = {"model": "extra_trees", "min_samples_leaf": 1}
    run = log("regression", **changes)
    logged = files.MODEL.read_bytes()
    rows, _, schema = prepare.prepare(table, params(**changes))
    joblib.dump(train.train(rows, schema.contract, params(**changes)), files.MODEL)

    assert files.MODEL.read_bytes() == logged
    assert run.data.tags[training_run.AUTOLOGGED] == "20"
    assert run.data.metrics["training_r2_score"] > 0.99  # fully grown trees know their rows by heart


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_run_is_not_found(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracking.EXPERIMENT, "interrupted")
    monkeypatch.setattr(mlflow_model, "log_model", interrupt)
    with pytest.raises(KeyboardInterrupt):
        log()

    assert tracking.find_run(tracking.connect("flights"), files.md5(files.MODEL)) is None


def test_a_run_whose_server_goes_down_is_never_reported_as_logged(
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

    monkeypatch.setenv("MLFLOW_TRACKING_URI", os.environ["MLFLOW_TRACKING_URI"])  # set_tracking_uri changes it
    monkeypatch.setattr(tracking, "connect", then_lose_it)
    with pytest.raises(UserError, match="it does not answer: Connection refused"):
        log()
    assert not [record for record in caplog.records if record.message.startswith("MLflow run")]


def test_the_code_that_goes_along_is_what_the_pickle_imports() -> None:
    graph = grimp.build_graph("stages", "service", include_external_packages=True, cache_dir=None)
    pickled = ("stages.estimators.steps", "stages.estimators.calibrators", "stages.estimators.derive")
    modules = {*pickled, *(each for name in pickled for each in graph.find_upstream_modules(name))}
    ours = {name for name in modules if name.partition(".")[0] in {"stages", "service"}}
    outside = modules - ours - sys.stdlib_module_names
    distributions = packages_distributions()

    code = {path for path in mlflow_model.CODE if not path.endswith("__init__.py")}
    assert code == {f"{name.replace('.', '/')}.py" for name in ours}
    required = {*mlflow_model.REQUIREMENTS, *mlflow_model.DERIVING}
    assert {each for name in outside for each in distributions[name]} <= required


@pytest.fixture(scope="module")
def kept(folder: Path) -> dict[str, Any]:
    """Keep what `logged` made for the tests that follow."""
    return {}


@pytest.fixture
def logged(log: Log, table: pd.DataFrame, kept: dict[str, Any]) -> dict[str, Any]:
    """Return one model with a column of codes and a flag that may be missing: its address, pipeline, rows and table."""
    table["code"] = (8000 + np.arange(len(table)) % 3).astype(str)
    table["flag"] = table["flag"].astype(object).mask(table["le"] > 1.5)
    if not kept:
        kept["uri"] = uri(log())
        kept |= {"pipeline": joblib.load(files.MODEL), "rows": pd.read_parquet(files.TRAIN)}
        kept["model"] = mlflow.pyfunc.load_model(kept["uri"])
    return kept | {"table": table}


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return cells as in a CSV file."""
    return table.astype(object).where(table.notna(), "").astype(str)


def narrowed(table: pd.DataFrame) -> pd.DataFrame:
    """Return float32 for floats, int16 for whole numbers and nanoseconds for dates."""
    kinds = {"f": "float32", "i": "int16", "M": "datetime64[ns]"}
    return table.astype({name: kinds[table[name].dtype.kind] for name in table if table[name].dtype.kind in kinds})


FORMS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "as it is": lambda table: table,
    "nullable": lambda table: table.convert_dtypes(),
    "categories": lambda table: table.astype({name: "category" for name in table if table[name].dtype.kind != "M"}),
    "text": as_text,
    "objects": lambda table: table.astype(object).where(table.notna(), None),
    "narrowed": narrowed,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_model_accepts_its_table_in_every_form_of_pandas(logged: dict[str, Any], form: str) -> None:
    table, pipeline = logged["table"], logged["pipeline"]
    sent = FORMS[form](table.assign(code=table["code"].astype(int)))

    assert list(logged["model"].predict(sent)) == list(pipeline.predict(table))
    found = mlflow.sklearn.load_model(logged["uri"]).predict_proba(sent)
    assert found.tolist() == pipeline.predict_proba(table).tolist()


def test_prepared_rows_and_raw_rows_get_the_same_answers(logged: dict[str, Any]) -> None:
    table, rows = logged["table"], logged["rows"]
    raw = table.set_index(table["le"].astype("float32")).loc[rows["le"]]

    assert list(logged["model"].predict(raw)) == list(logged["model"].predict(rows))


def test_a_column_may_be_absent_only_if_its_values_may_be_missing(logged: dict[str, Any]) -> None:
    model, table = logged["model"], logged["table"]

    assert list(model.predict(table.drop(columns="a b"))) == list(model.predict(table.assign(**{"a b": np.nan})))
    with pytest.raises(mlflow.MlflowException, match="missing inputs"):
        model.predict(table.drop(columns="le"))


def test_a_cell_that_does_not_fit_its_feature_is_named(logged: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="le: got 'much'; expected a number"):
        logged["model"].predict(logged["table"].assign(le="much"))


def test_the_input_example_holds_no_row_of_the_table(logged: dict[str, Any]) -> None:
    model, table = logged["model"], logged["table"]
    example = model.input_example

    assert mlflow.models.get_model_info(logged["uri"]).signature.inputs.input_names() == list(example)
    assert not table["le"].astype("float32").isin(example["le"].astype("float32")).any()
    assert len(model.predict(example)) == len(example)


@pytest.mark.slow
def test_the_model_loads_in_a_folder_without_this_project(logged: dict[str, Any], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADING, logged["uri"], str(folder / files.TRAIN)],
        cwd="/",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    by_sklearn, by_pyfunc, paths = json.loads(done.stdout.splitlines()[-1])
    assert by_sklearn == by_pyfunc == logged["pipeline"].predict(logged["rows"]).tolist()
    assert all(Path(path).is_relative_to(folder / "mlartifacts") for path in paths)


@pytest.mark.parametrize(
    ("model", "package"), [("lightgbm", "lightgbm"), ("xgboost", "xgboost-cpu"), ("catboost", "catboost")]
)
def test_a_boosters_package_is_among_the_requirements(log: Log, model: str, package: str) -> None:
    path = mlflow.pyfunc.get_model_dependencies(uri(log(model=model)))

    assert f"\n{package}=={version(package)}" in Path(path).read_text(encoding="utf-8")
