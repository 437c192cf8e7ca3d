"""The gate and the candidate in the registry, on a real MLflow store with a real model."""

import copy
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
from stages.params import Params, load_params
from stages.prepare import __main__ as prepare
from stages.register import __main__ as register
from stages.register import results
from stages.runs import registry
from stages.runs.facts import Facts
from stages.scores.gate import Gate
from stages.train import __main__ as train

# MLflow's own use of SQLAlchemy and pandas is not ours to repair.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:::mlflow"),
]
METRICS = {"roc_auc": 0.9, "baseline_roc_auc": 0.5}


def small(rows: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows), "c": rng.choice([*"xyz"], rows)})
    return table.assign(y=np.where(table["a"] + rng.normal(size=rows) / 2 > 0, "yes", "no"))


def small_params(root: Path, **changes: Any) -> Params:
    raw = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    data = raw["data"] | {"path": "t.csv", "target": "y", "positive": None}
    split = {"method": "random", "test_size": 0.4, "time_column": None, "group_column": None}
    return Params.model_validate(copy.deepcopy(raw) | {"data": data, "split": split, "n_estimators": 10} | changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Path]:
    """Give a folder with a trained and exported model, in which the stage can run."""
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
        files.write_text(files.CARD, "# Model card\n")
        files.write_text(files.PLOTS / "roc.csv", "fpr,tpr,class\n0,0,yes\n0.2,0.9,yes\n1,1,yes\n")
        files.write_text(files.PLOTS / "residuals.csv", "predicted,residual\n")
        yield folder


@pytest.fixture
def run_stage(trained: Path, root: Path) -> Callable[..., ModelVersion | None]:
    """Give a function that runs the stage with changed `register` params; it gives the newest version."""

    def one(metrics: dict[str, float] = METRICS, **section: Any) -> ModelVersion | None:
        changed = {"name": "flights", "min_gain": 0.05, "tolerance": 0.0, "required": False} | section
        params = small_params(root, register=changed)
        with files.PARAMS.open("w", encoding="utf-8") as file:
            YAML().dump(params.model_dump(by_alias=True), file)
        files.write_json(files.METRICS, metrics)
        register.main()
        name = load_params().registered_name
        found = MlflowClient().search_model_versions(f"name = '{name}'")
        return max(found, key=lambda version: int(version.version), default=None)

    return one


def aliases(name: str = "flights") -> dict[str, str]:
    return dict(MlflowClient().get_registered_model(name).aliases)


@pytest.mark.parametrize(
    ("value", "baseline", "refusal"),
    [
        (0.55, 0.5, ""),
        (0.5499999999, 0.5, "does not beat the baseline 0.5000 by 0.05"),
        (None, None, "the test rows give no roc_auc"),
    ],
)
def test_the_gate_opens_exactly_at_the_gain_that_is_asked_for(
    value: float | None, baseline: float | None, refusal: str
) -> None:
    found = Gate("roc_auc", value, baseline, 0.05).refusal

    assert bool(found) == bool(refusal)
    assert refusal in found


def test_regression_is_gated_by_r2(root: Path) -> None:
    gate = register.register({"r2": 0.4, "baseline_r2": -0.01}, "regression", small_params(root))

    assert (gate.metric, gate.value, gate.baseline, gate.refusal) == ("r2", 0.4, -0.01, "")


@pytest.mark.parametrize(("roc_auc", "decision"), [(0.9, "candidate"), (0.54, "refused")])
def test_a_model_becomes_a_version_with_its_verdict_and_no_alias(
    run_stage: Callable[..., ModelVersion], roc_auc: float, decision: str
) -> None:
    version = run_stage({"roc_auc": roc_auc, "baseline_roc_auc": 0.5})

    assert version.tags["decision"] == decision
    assert "the baseline 0.5000" in version.tags["reason"]
    assert aliases() == {}


def test_the_same_model_makes_no_second_version(run_stage: Callable[..., ModelVersion]) -> None:
    first, second = run_stage(), run_stage(min_gain=0.0)

    assert first.version == second.version


def test_the_stage_moves_no_alias(run_stage: Callable[..., ModelVersion]) -> None:
    version = run_stage(name="held")
    MlflowClient().set_registered_model_alias("held", "champion", version.version)
    run_stage(name="held")

    assert aliases("held") == {"champion": version.version}


def test_without_a_name_table_and_target_name_the_model(run_stage: Callable[..., ModelVersion]) -> None:
    assert run_stage(name=None).name == "t-y"


def test_the_run_keeps_what_a_release_needs(run_stage: Callable[..., ModelVersion], tmp_path: Path) -> None:
    version = run_stage()
    read = {
        name: Path(MlflowClient().download_artifacts(str(version.run_id), name, str(tmp_path))).read_bytes()
        for name in (registry.ONNX_FILE, registry.FACTS_FILE, registry.SCHEMA_FILE)
    }

    facts = Facts.model_validate_json(read[registry.FACTS_FILE])
    assert facts.onnx_md5 == files.md5_of(read[registry.ONNX_FILE]) == version.tags["dvc.onnx_md5"]
    assert (facts.metrics, facts.training_rows) == (METRICS, len(pd.read_parquet(files.TRAIN)))
    assert facts.params["register"]["name"] == "flights"
    assert read[registry.SCHEMA_FILE] == files.SCHEMA.read_bytes()


def test_the_registered_model_is_loaded_by_mlflow(run_stage: Callable[..., ModelVersion]) -> None:
    version, rows = run_stage(), pd.read_parquet(files.TEST)
    loaded, served = mlflow.sklearn.load_model(f"models:/flights/{version.version}"), service.model.load(files.ONNX)

    np.testing.assert_allclose(loaded.predict_proba(rows), served.scores(served.contract.encode(rows)), atol=1e-5)


@pytest.mark.parametrize("required", [True, False])
def test_a_refusal_fails_the_stage_only_where_a_model_is_required(
    run_stage: Callable[..., ModelVersion], required: bool
) -> None:
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


def test_the_run_holds_the_results_of_the_test_rows(run_stage: Callable[..., ModelVersion | None]) -> None:
    version = run_stage()
    assert version
    client = MlflowClient()
    run = client.get_run(str(version.run_id))
    kept = {each.path for each in client.list_artifacts(run.info.run_id)}
    pictures = {each.path for each in client.list_artifacts(run.info.run_id, "test")}

    assert run.data.metrics["roc_auc"] == METRICS["roc_auc"]
    assert {"model_card.md", "metrics.json"} <= kept
    assert pictures == {"test/tables", "test/roc.png"}  # a plot that the task doesn't have is left out
    assert f"roc_auc {METRICS['roc_auc']:.4f}" in run.data.tags["mlflow.note.content"]


def test_the_run_names_the_rows_behind_it(run_stage: Callable[..., ModelVersion | None]) -> None:
    version = run_stage()
    assert version
    inputs = MlflowClient().get_run(str(version.run_id)).inputs.dataset_inputs  # type: ignore[union-attr]
    found = {each.tags[0].value: (each.dataset.name, each.dataset.digest, each.dataset.profile) for each in inputs}

    for context, path in (("training", files.TRAIN), ("test", files.TEST)):
        rows = f'{{"num_rows": {pq.read_metadata(path).num_rows}}}'
        assert found[context] == ("t.csv", files.md5(path), rows)


def test_names_with_signs_of_formulas_are_drawn(tmp_path: Path) -> None:
    table = pd.DataFrame({"feature": ["$a_{b$", "x^2", "#"], "importance": [0.3, 0.2, 0.1]})
    figure = results.draw("importance", table)
    assert figure
    figure.savefig(tmp_path / "importance.png")

    assert (tmp_path / "importance.png").stat().st_size > 0
