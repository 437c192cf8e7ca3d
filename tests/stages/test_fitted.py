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
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from stages import _files, _fitted, _params, _tracking, prepare, train
from stages._errors import UserError
from stages._fitted import Fit

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
def log(folder: Path, table: pd.DataFrame, params: Callable[..., _params.Params]) -> Log:
    """Give a function that fits and logs a model of the small table; it gives the run."""

    def fit_and_log(target: str = "binary", data: dict[str, Any] | None = None, **changes: Any) -> Run:
        table["y"] = TARGETS[target](table)
        wanted = params(data={"positive": None} | (data or {}), **changes)
        rows, _, schema = prepare.prepare(table, wanted)
        pipeline = train.train(rows, schema.contract, wanted)
        for path in (_files.TRAIN, _files.MODEL):
            path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(_files.TRAIN)
        joblib.dump(pipeline, _files.MODEL)
        features = rows[[feature.name for feature in schema.contract.features]]
        fit = Fit(pipeline, features, rows["y"], wanted, seconds=1.5)
        run_id = _fitted.log_fit(_tracking.connect("flights"), fit)
        return MlflowClient().get_run(run_id)

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
    monkeypatch.setenv(_tracking.EXPERIMENT, "tidy-ants")
    run = log(max_depth=3)

    assert run.data.params["max_depth"] == "3"
    assert run.data.params["register.tolerance"] == "0.005"
    assert run.info.run_name == run.data.tags[_tracking.EXPERIMENT] == "tidy-ants"
    assert run.data.tags[_tracking.MODEL_MD5] == _files.md5(_files.MODEL)
    assert run.data.metrics["fit_seconds"] == 1.5


def test_a_list_too_long_for_mlflow_does_not_stop_the_run(log: Log) -> None:
    run = log(data={"ignore": [f"a column with a long name {number}" for number in range(2_000)]})

    assert run.data.params["data.ignore"].startswith("['a column")


def broken(_: Fit) -> None:
    raise KeyboardInterrupt


def test_a_run_that_breaks_off_is_not_taken_for_one(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_tracking.EXPERIMENT, "broken-off")
    monkeypatch.setattr(_fitted, "_log_model", broken)
    with pytest.raises(KeyboardInterrupt):
        log()

    assert _tracking.find_run(_tracking.connect("flights"), _files.md5(_files.MODEL)) is None


def test_a_run_lost_on_the_way_is_never_reported_as_logged(
    log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stages")
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        gone = f"http://127.0.0.1:{listening.getsockname()[1]}"
    connect = _tracking.connect

    def then_lose_it(name: str) -> str:
        experiment = connect(name)
        mlflow.set_tracking_uri(gone)
        return experiment

    # MLflow sets this variable when it is told where to go.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", os.environ["MLFLOW_TRACKING_URI"])
    monkeypatch.setattr(_tracking, "connect", then_lose_it)
    with pytest.raises(UserError, match="it does not answer: Connection refused"):
        log()
    assert not [record for record in caplog.records if record.message.startswith("MLflow run")]


def test_only_the_code_that_the_pickle_needs_goes_along() -> None:
    assert [str(path) for path in _fitted.code_of("stages/_estimators.py")] == [
        "service/contract.py",
        "stages/_errors.py",
        "stages/_estimators.py",
        "stages/_params.py",
    ]


def test_every_package_that_this_code_imports_is_pinned() -> None:
    modules = {
        name.partition(".")[0]
        for path in _fitted.code_of("stages/_estimators.py")
        for name in _fitted.imported(path)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "stages", "service"}
    }
    distributions = packages_distributions()

    assert {name for module in modules for name in distributions[module] if "ruamel" not in name} <= {
        *_fitted.REQUIREMENTS
    }
    assert "ruamel" not in modules or "ruamel.yaml" in _fitted.REQUIREMENTS


LOADING = """
import json, sys, mlflow, pandas
rows = pandas.read_parquet(sys.argv[2])
loaded = mlflow.sklearn.load_model(sys.argv[1])
through = mlflow.pyfunc.load_model(sys.argv[1])
rows = rows[through.metadata.get_input_schema().input_names()]
import stages._estimators
print(json.dumps([loaded.predict(rows).tolist(), list(through.predict(rows)), stages._estimators.__file__]))
"""


@pytest.mark.slow
def test_the_model_is_loaded_where_this_project_is_not(log: Log, folder: Path, tmp_path: Path) -> None:
    run = log()
    expected = joblib.load(_files.MODEL).predict(pd.read_parquet(_files.TRAIN))
    location = folder / "mlartifacts/models" / run.outputs.model_outputs[0].model_id / "artifacts"  # type: ignore[union-attr]
    done = subprocess.run(
        [sys.executable, "-c", LOADING, str(location), str(folder / _files.TRAIN)],
        cwd=tmp_path,
        env=dict(os.environ) | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    by_sklearn, by_pyfunc, code = json.loads(done.stdout.splitlines()[-1])
    assert by_sklearn == by_pyfunc == expected.tolist()
    assert Path(code).is_relative_to(location)


def test_the_model_has_a_signature_and_an_example(log: Log) -> None:
    model = mlflow.models.get_model_info(f"models:/{log().outputs.model_outputs[0].model_id}")  # type: ignore[union-attr]

    assert "le" in model.signature.inputs.input_names()
    assert model.saved_input_example_info is not None
