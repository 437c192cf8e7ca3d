"""The gate, and the candidate in the registry: a real MLflow store with a real model."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

import service.model
from stages import files
from stages.errors import UserError
from stages.export import __main__ as export
from stages.params.loading import load_params
from stages.params.params import Params
from stages.params.sample_use import SampleUse, write_sample_use
from stages.prepare import __main__ as prepare
from stages.register import __main__ as register
from stages.runs import registry
from stages.runs.run_record import RunRecord
from stages.scores.gate import check
from stages.train import __main__ as train

# MLflow's own use of SQLAlchemy and pandas is not ours to repair.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:::mlflow"),
]
METRICS = {"roc_auc": 0.9, "baseline_roc_auc": 0.5}
Run = Callable[..., ModelVersion]


def small(rows: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows), "c": rng.choice([*"xyz"], rows)})
    return table.assign(y=np.where(table["a"] + rng.normal(size=rows) / 2 > 0, "yes", "no"))


def small_params(root: Path, **changes: Any) -> Params:
    raw = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    data = raw["data"] | {"path": "t.csv", "target": "y", "positive": None}
    split = {"method": "random", "test_size": 0.4, "time_column": None, "group_column": None}
    return Params.model_validate(raw | {"data": data, "split": split, "features": {}, "n_estimators": 10} | changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Path]:
    """Return a folder with a trained and exported model, in which the stage can run."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("registry")
        patch.chdir(folder)
        params = small_params(root)
        rows, test, schema = prepare.prepare(small(), params)
        pipeline = train.train(rows, schema.contract, params)
        for path in (files.TRAIN, files.MODEL):
            path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(files.TRAIN)
        test.to_parquet(files.TEST)
        files.write_json(files.SCHEMA, schema.model_dump(mode="json"))
        joblib.dump(pipeline, files.MODEL)
        files.ONNX.write_bytes(export.export(pipeline, schema.contract))
        files.write_json(files.CANDIDATES, [])
        write_sample_use(SampleUse(rows=len(rows), of=len(rows), metric="roc_auc"))
        files.write_text(files.CARD, "# Model card\n")
        files.write_text(files.SLICES, "column,value,rows,roc_auc,roc_auc_low,roc_auc_high,actual,predicted,worse\n")
        files.write_text(files.GROUPS, "column,group,class,metric,value,low,high,rows,units,note\n")
        files.write_json(files.VALIDATION, {"success": True, "suite": None, "table": "240 rows", "results": []})
        files.write_text(files.PLOTS / "roc.csv", "fpr,tpr,class\n0,0,yes\n0.2,0.9,yes\n1,1,yes\n")
        files.write_text(files.PLOTS / "residuals.csv", "predicted,residual\n")
        yield folder


@pytest.fixture
def run_stage(trained: Path, root: Path) -> Run:
    """Return a function that runs the stage with changed `register` params; it returns the newest version."""

    def one(metrics: dict[str, float] = METRICS, **section: Any) -> ModelVersion:
        changed = {"name": "flights", "min_gain": 0.05, "tolerance": 0.0, "required": False} | section
        params = small_params(root, register=changed)
        with files.PARAMS.open("w", encoding="utf-8") as file:
            YAML().dump(params.model_dump(by_alias=True), file)
        files.write_json(files.METRICS, metrics)
        register.main()
        found = MlflowClient().search_model_versions(f"name = '{load_params().registered_name}'")
        return max(found, key=lambda version: int(version.version))

    return one


@pytest.mark.parametrize(
    ("value", "baseline", "task", "refusal"),
    [
        (0.55, 0.5, "binary", ""),
        (0.5499999999, 0.5, "binary", "does not beat the baseline 0.5000 by 0.05"),
        (None, None, "binary", "the test rows give no roc_auc"),
        (0.04, -0.01, "regression", ""),
        (0.04, 0.0, "regression", "r2 0.0400 does not beat"),
    ],
)
def test_the_gate_opens_exactly_at_the_required_gain(
    value: float | None, baseline: float | None, task: str, refusal: str
) -> None:
    name = "r2" if task == "regression" else "roc_auc"
    found = check({name: value, f"baseline_{name}": baseline}, task, 0.05, {}).refusal

    assert bool(found) == bool(refusal)
    assert refusal in found


@pytest.mark.parametrize(
    ("difference", "refusal"),
    [
        (0.1, ""),
        (0.1001, "equalized_odds_difference 0.1001 of groups is above register.max_difference 0.1"),
        (None, "the test rows give no equalized_odds_difference"),
    ],
)
def test_the_gate_refuses_groups_that_differ_by_more_than_the_bound(difference: float | None, refusal: str) -> None:
    found = {"roc_auc": 0.9, "baseline_roc_auc": 0.5, "equalized_odds_difference": difference}

    assert check(found, "binary", 0.05, {"equalized_odds_difference": 0.1}).refusal.partition(":")[0] == refusal
    assert check(found, "binary", 0.5, {"equalized_odds_difference": 0.1}).refusal.startswith("roc_auc 0.9000 does not")


@pytest.mark.parametrize(
    ("task", "metric", "name"),
    [
        ("binary", "roc_auc", "mean_error_difference"),
        ("multiclass", "roc_auc", "mean_absolute_error_difference"),
        ("regression", "r2", "calibration_error_difference"),
    ],
)
def test_the_gate_names_a_bound_of_another_task(task: str, metric: str, name: str) -> None:
    refusal = check({metric: 0.9, f"baseline_{metric}": 0.5}, task, 0.05, {name: 0.1}).refusal

    assert refusal == f"{name} is not for {task}; name another difference in register.max_difference"


@pytest.mark.parametrize(("roc_auc", "decision"), [(0.9, "candidate"), (0.54, "refused")])
def test_a_model_becomes_one_version_with_its_verdict_and_moves_no_alias(
    run_stage: Run, roc_auc: float, decision: str
) -> None:
    first = run_stage(name=decision)
    MlflowClient().set_registered_model_alias(decision, "champion", first.version)
    version = run_stage({"roc_auc": roc_auc, "baseline_roc_auc": 0.5}, name=decision)

    assert version.version == first.version
    assert version.tags["decision"] == decision
    assert "the baseline 0.5000" in version.tags["reason"]
    assert dict(MlflowClient().get_registered_model(decision).aliases) == {"champion": first.version}


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


def test_the_run_holds_the_results_and_what_a_release_needs(run_stage: Run, downloaded: Path) -> None:
    version = run_stage(name=None)
    client = MlflowClient()
    run = client.get_run(str(version.run_id))
    read = {
        name: Path(client.download_artifacts(run.info.run_id, name, str(downloaded))).read_bytes()
        for name in (registry.ONNX_FILE, registry.RECORD_FILE, registry.SCHEMA_FILE, registry.SLICES_FILE)
    }
    record = RunRecord.model_validate_json(read[registry.RECORD_FILE])

    assert version.name == "t-y"
    assert record.onnx_md5 == files.md5_of(read[registry.ONNX_FILE]) == version.tags["dvc.onnx_md5"]
    assert (record.metrics, record.training_rows) == (METRICS, len(pd.read_parquet(files.TRAIN)))
    assert record.params["register"]["name"] is None
    assert read[registry.SCHEMA_FILE] == files.SCHEMA.read_bytes()
    assert read[registry.SLICES_FILE] == files.SLICES.read_bytes()
    assert run.data.metrics["roc_auc"] == METRICS["roc_auc"]
    assert 0 < run.data.metrics["predict_one_row_p50_seconds"] <= run.data.metrics["predict_one_row_p99_seconds"] < 1
    assert run.data.metrics["predict_batch_rows_per_second"] > 30
    assert {"model_card.md", "metrics.json", "report.html"} <= {
        each.path for each in client.list_artifacts(run.info.run_id)
    }
    # A plot that the task does not have is left out.
    assert {each.path for each in client.list_artifacts(run.info.run_id, "test")} == {
        *("test/tables", "test/roc.svg", "test/drift.svg")
    }
    assert run.data.tags["mlflow.note.content"] == "# Model card\n"
    inputs = run.inputs.dataset_inputs
    found = {each.tags[0].value: (each.dataset.name, each.dataset.digest, each.dataset.profile) for each in inputs}
    for context, path in (("training", files.TRAIN), ("test", files.TEST)):
        rows = f'{{"num_rows": {pq.read_metadata(path).num_rows}}}'
        assert found[context] == ("t.csv", files.md5(path), rows)


def test_experiment_model_and_version_are_described_unless_people_have_described_them(
    run_stage: Run, trained: Path
) -> None:
    version = run_stage()
    client = MlflowClient()
    rows = pq.read_metadata(files.TRAIN).num_rows
    experiment = client.get_experiment(client.get_run(str(version.run_id)).info.experiment_id)

    assert "predicts `y` of `t.csv`" in experiment.tags["mlflow.note.content"]
    assert client.get_registered_model(version.name).description.startswith("Predicts `y` of `t.csv`.")
    found = client.get_model_version(version.name, version.version).description or ""
    assert found.startswith(f"hist_gradient_boosting trained on {rows} rows of t.csv")
    assert found.endswith("Test rows: roc_auc 0.9000 beats the baseline 0.5000.")

    client.update_registered_model(version.name, "Ours.")
    client.update_model_version(version.name, version.version, "Mine.")
    run_stage()

    assert client.get_registered_model(version.name).description.startswith("Ours.")
    assert client.get_model_version(version.name, version.version).description == "Mine."


def test_only_the_runs_copy_of_the_report_names_the_commit_and_the_champion(
    run_stage: Run, downloaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.runs.git.head", lambda: "c0ffee")
    first = run_stage({"roc_auc": 0.8125, "baseline_roc_auc": 0.5}, name="champions")
    MlflowClient().set_registered_model_alias("champions", "champion", first.version)
    report = files.REPORT.read_bytes()
    copy = Path(MlflowClient().download_artifacts(str(first.run_id), "report.html", str(downloaded)))
    run_stage({"roc_auc": 0.8125, "baseline_roc_auc": 0.5}, name="champions")

    assert files.REPORT.read_bytes() == report
    assert b"c0ffee" not in report
    assert "c0ffee" in copy.read_text(encoding="utf-8")
    assert "champion, version" not in copy.read_text(encoding="utf-8")
    again = MlflowClient().download_artifacts(str(first.run_id), "report.html", str(downloaded))
    assert "champion, version 1" in Path(again).read_text(encoding="utf-8")


def test_mlflow_loads_the_registered_model(run_stage: Run) -> None:
    version, rows = run_stage(), pd.read_parquet(files.TEST)
    loaded, served = mlflow.sklearn.load_model(f"models:/flights/{version.version}"), service.model.load(files.ONNX)

    np.testing.assert_allclose(loaded.predict_proba(rows), served.scores(served.contract.encode(rows)), atol=1e-5)


@pytest.mark.parametrize("required", [True, False])
def test_a_refusal_fails_the_stage_only_if_a_model_is_required(run_stage: Run, required: bool) -> None:
    files.REGISTRATION.unlink(missing_ok=True)

    with pytest.raises(UserError, match=r"the model is refused: .*required") if required else nullcontext():
        run_stage(min_gain=0.99, required=required)

    assert files.REGISTRATION.exists() != required
    if not required:
        assert json.loads(files.REGISTRATION.read_text(encoding="utf-8")) == {
            "name": "flights",
            "model_md5": files.md5(files.MODEL),
            "gate": {"metric": "roc_auc", "value": 0.9, "baseline": 0.5, "passed": False},
        }
