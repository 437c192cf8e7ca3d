"""The gates, the registry and its aliases, on a real MLflow store with real models."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

import service.model
from stages import _exposition, _files, _fitted, _history, _tracking, export, prepare, register, train
from stages._champion import Comparison
from stages._errors import UserError
from stages._fitted import Fit
from stages._params import Params
from stages._registry import Registry
from stages.register import Candidate, Gate

# MLflow's own use of SQLAlchemy and pandas is not ours to repair.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:::mlflow"),
]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PASSING = Gate("roc_auc", 0.9, 0.5, 0.05)
FAILING = Gate("roc_auc", 0.52, 0.5, 0.05)


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
def candidates(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[dict[str, Candidate]]:
    """Fit, export and log three models once: a good one, one much worse, one that needs a column of its own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("registry")
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        experiment = _tracking.connect("flights")
        tables = {"good": small(), "worse": small(), "other": small().assign(d=small()["b"] ** 2)}
        yield {name: candidate(experiment, name, table, root) for name, table in tables.items()}


def candidate(experiment: str, name: str, table: pd.DataFrame, root: Path) -> Candidate:
    params = small_params(root, max_depth=1 if name == "worse" else 12, min_samples_leaf=60 if name == "worse" else 5)
    rows, test, schema = prepare.prepare(table, params)
    pipeline = train.train(rows, schema.contract, params)
    for path in (_files.TRAIN, _files.MODEL):
        path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(_files.TRAIN)
    joblib.dump(pipeline, _files.MODEL)
    _files.ONNX.write_bytes(export.export(pipeline, schema.contract))
    features = rows[[feature.name for feature in schema.contract.features]]
    run_id = _fitted.log_fit(experiment, Fit(pipeline, features, rows["y"], params, seconds=1.0))
    model = service.model.load(_files.ONNX)
    register.complete(run_id, model, {"roc_auc": 0.9}, test)
    return Candidate(_files.md5(_files.MODEL), run_id, model, test, PASSING)


@pytest.fixture
def registry(candidates: dict[str, Candidate], request: pytest.FixtureRequest) -> Registry:
    """Give a registered model of the test's own, without versions."""
    return Registry(MlflowClient(), request.node.name.replace("[", " ").replace("]", ""))


@pytest.fixture
def publish(candidates: dict[str, Candidate], registry: Registry, root: Path) -> Callable[..., ModelVersion]:
    """Give a function that publishes a candidate by its name, an hour later each time, and gives its version."""
    clock = iter(range(100))

    def one(name: str, gate: Gate = PASSING, tolerance: float = 0.005) -> ModelVersion:
        params = small_params(root)
        section = params.registration.model_copy(update={"tolerance": tolerance})
        params = params.model_copy(update={"registration": section})
        register.publish(registry, replace(candidates[name], gate=gate), params, NOW + timedelta(hours=next(clock)))
        return registry.version_of(candidates[name].md5, "", "")

    return one


def aliases(registry: Registry) -> dict[str, str]:
    found = registry.client.get_registered_model(registry.name).aliases
    return {alias: str(version) for alias, version in found.items()}


def moves(registry: Registry) -> list[tuple[str, str | None, str | None]]:
    tags = registry.client.get_registered_model(registry.name).tags
    return [(each.alias, each.before, each.after) for each in _history.read(tags)]


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


@pytest.mark.parametrize(("tolerance", "refused"), [(0.02, False), (0.0199, True)])
def test_a_model_may_be_worse_than_the_champion_by_the_tolerance(tolerance: float, refused: bool) -> None:
    against = Comparison(candidate=0.75, champion=0.77, low=-0.03, high=0.01)

    decision = register.decide(PASSING, against, "1", tolerance)

    assert bool(decision.refusal) == refused


def test_regression_is_gated_by_r2(root: Path) -> None:
    gate = register.register({"r2": 0.4, "baseline_r2": -0.01}, "regression", small_params(root))

    assert (gate.metric, gate.value, gate.baseline, gate.refusal) == ("r2", 0.4, -0.01, "")


def test_the_first_model_that_passes_is_champion(publish: Callable[..., ModelVersion], registry: Registry) -> None:
    version = publish("good")

    assert aliases(registry) == {"champion": str(version.version)}
    assert version.tags["decision"] == "champion"


def test_a_model_that_does_not_beat_the_baseline_is_a_refused_version(
    publish: Callable[..., ModelVersion], registry: Registry
) -> None:
    version = publish("good", gate=FAILING)

    assert aliases(registry) == {}
    assert "does not beat the baseline" in version.tags["refused"]


def test_a_model_worse_than_the_champion_is_refused_with_the_interval(
    publish: Callable[..., ModelVersion], registry: Registry
) -> None:
    champion = publish("good")
    version = publish("worse")

    assert aliases(registry) == {"champion": str(champion.version)}
    assert "worse than the champion by more than 0.005" in version.tags["refused"]
    assert float(version.tags["champion.difference_low"]) < float(version.tags["champion.difference"]) < 0


def test_a_new_champion_makes_the_former_one_previous(publish: Callable[..., ModelVersion], registry: Registry) -> None:
    former, new = publish("worse"), publish("good")

    assert aliases(registry) == {"champion": str(new.version), "previous": str(former.version)}


def test_the_same_model_makes_no_second_version(publish: Callable[..., ModelVersion], registry: Registry) -> None:
    publish("good")
    publish("good")

    assert len(registry.client.search_model_versions(f"name = '{registry.name}'")) == 1
    assert moves(registry) == [("champion", None, "1")]


def test_a_model_refused_before_makes_no_second_version(
    publish: Callable[..., ModelVersion], registry: Registry
) -> None:
    publish("good")
    publish("worse")
    publish("worse")

    assert len(registry.client.search_model_versions(f"name = '{registry.name}'")) == 2


def test_a_refused_model_becomes_champion_once_the_tolerance_allows_it(
    publish: Callable[..., ModelVersion], registry: Registry
) -> None:
    publish("good")
    publish("worse")
    version = publish("worse", tolerance=1.0)

    assert aliases(registry)["champion"] == str(version.version)
    assert "refused" not in version.tags


def test_going_back_to_an_older_model_makes_it_champion_again(
    publish: Callable[..., ModelVersion], registry: Registry
) -> None:
    publish("worse")
    publish("good")
    publish("worse", tolerance=1.0)

    assert aliases(registry) == {"champion": "1", "previous": "2"}


def test_each_version_is_told_to_prometheus_with_its_rows_and_metrics(
    publish: Callable[..., ModelVersion], registry: Registry, candidates: dict[str, Candidate]
) -> None:
    publish("good"), publish("worse")

    newest, first = _exposition.versions(registry)
    assert (first.number, first.champion, newest.champion) == ("1", True, False)
    assert (first.md5, first.rows) == (candidates["good"].model.version, 144)
    assert first.metrics["roc_auc"] == 0.9
    assert first.metrics["fit_seconds"] == 1.0


def test_every_move_of_an_alias_is_kept(publish: Callable[..., ModelVersion], registry: Registry) -> None:
    publish("worse")
    publish("good")

    assert sorted(moves(registry)[1:]) == [("champion", "1", "2"), ("previous", None, "1")]


def test_a_move_by_hand_is_noticed_and_kept(publish: Callable[..., ModelVersion], registry: Registry) -> None:
    publish("worse")
    publish("good")
    registry.client.set_registered_model_alias(registry.name, "champion", "1")
    registry.notice(NOW + timedelta(days=1))

    assert moves(registry)[-1] == ("champion", "2", "1")


def test_a_champion_that_cannot_score_the_rows_is_replaced_with_the_reason(
    publish: Callable[..., ModelVersion], registry: Registry
) -> None:
    publish("other")
    version = publish("good")

    assert aliases(registry)["champion"] == str(version.version)
    assert "no column 'd'" in version.tags["champion.not_comparable"]


def test_a_champion_whose_file_is_lost_is_replaced_with_the_reason(
    publish: Callable[..., ModelVersion], registry: Registry
) -> None:
    champion = publish("worse")
    registry.client.set_model_version_tag(registry.name, champion.version, _tracking.ONNX_MD5, "0" * 32)
    version = publish("good")

    assert "not the one that was registered" in version.tags["champion.not_comparable"]


def test_the_registered_model_is_loaded_by_mlflow_under_its_alias(
    publish: Callable[..., ModelVersion], registry: Registry, candidates: dict[str, Candidate]
) -> None:
    publish("good")
    rows = candidates["good"].rows
    loaded = mlflow.sklearn.load_model(f"models:/{registry.name}@champion")

    scores = candidates["good"].model.scores(candidates["good"].model.contract.encode(rows))
    np.testing.assert_allclose(loaded.predict_proba(rows), scores, atol=1e-5)


@pytest.mark.parametrize("required", [True, False])
def test_a_refusal_fails_the_stage_only_where_a_model_is_required(
    candidates: dict[str, Candidate], root: Path, required: bool
) -> None:
    last = candidates["other"]  # whose files lie in the folder
    section = {"name": "flights", "min_gain": 0.99, "tolerance": 0.0, "required": required}
    with _files.PARAMS.open("w", encoding="utf-8") as file:
        YAML().dump(small_params(root, register=section).model_dump(by_alias=True), file)
    _files.write_json(_files.METRICS, {"roc_auc": 0.9, "baseline_roc_auc": 0.5})
    last.rows.to_parquet(_files.TEST)
    _files.REGISTRATION.unlink(missing_ok=True)

    with pytest.raises(UserError, match=r"the model is refused: .*required") if required else nullcontext():
        register.main()

    assert _files.REGISTRATION.exists() != required
    if not required:
        assert json.loads(_files.REGISTRATION.read_text(encoding="utf-8")) == {
            "name": "flights",
            "model_md5": last.md5,
            "gate": {"metric": "roc_auc", "value": 0.9, "baseline": 0.5, "passed": False},
        }
    assert aliases(Registry(MlflowClient(), "flights")) == {}
