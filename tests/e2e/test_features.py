"""Derived features as you type them: in params.yaml and by `dvc exp run`, from the table to the saved model."""

import csv
import json
import sys
from collections.abc import Callable

import pandas as pd
import pytest

from service.model import load
from stages.features.parts import cut
from tests.e2e.conftest import TABLE, Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("features")]

# Run far from the repository: MLflow brings the code along.
PREDICT = """
import sys, mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
run = mlflow.search_runs(search_all_experiments=True, output_format="list")[0]
model = mlflow.pyfunc.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
print(list(model.predict(pd.read_csv(sys.argv[2]).drop(columns="y"))))
"""


@pytest.fixture(scope="module")
def made(project: Callable[..., Project]) -> Project:
    """Return a project whose last experiment added a feature over an ignored column."""
    made = project(data={"ignore": ["b"]}, features={"positive": "a > 0"})
    made.ok("dvc", "exp", "run", "-S", "features.positive='a > 0.5'", "-S", "+features.ratio=a / b")
    return made


def test_an_experiment_changes_a_feature_and_adds_one(made: Project) -> None:
    schema = json.loads((made.path / "data/prepared/schema.json").read_text(encoding="utf-8"))

    assert schema["contract"]["derived"] == {"positive": "a > 0.5", "ratio": "a / b"}
    assert schema["contract"]["inputs_only"] == ["b"]


def test_a_new_feature_without_plus_says_what_to_do(made: Project) -> None:
    done = made.run("dvc", "exp", "run", "-S", "features.other=a + 1")

    assert done.returncode != 0
    assert "+features.other" in done.stdout + done.stderr


def test_the_file_computes_what_a_hand_would(made: Project) -> None:
    model = load(made.path / "models/model.onnx")
    table = pd.read_csv(made.path / TABLE)
    matrix = model.contract.encode(table)

    derived = cut(model, (made.path / "models/model.onnx").read_bytes()).derive(matrix)

    ratio = table["a"].astype("float32").astype(float) / table["b"].astype("float32")
    assert derived[:, -2].tolist() == (table["a"] > 0.5).astype(float).tolist()
    pd.testing.assert_series_equal(pd.Series(derived[:, -1]), ratio.astype("float32"), check_names=False)


def test_the_card_and_the_importance_name_them(made: Project) -> None:
    card = (made.path / "metrics/model_card.md").read_text(encoding="utf-8")
    with (made.path / "metrics/plots/importance.csv").open(encoding="utf-8", newline="") as file:
        importance = {row["feature"] for row in csv.DictReader(file)}

    assert "- Derived feature: ratio = a / b" in card
    assert "- Only for derived features: b" in card
    assert importance == {"a", "b", "c", "positive", "ratio"}


def test_mlflow_s_model_loads_without_the_repository(made: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    away = tmp_path_factory.mktemp("away")
    alone = Project(away, made.environment)

    printed = alone.ok(
        sys.executable, "-W", "ignore", "-c", PREDICT, f"sqlite:///{made.path}/mlflow.db", str(made.path / TABLE)
    )

    assert printed.count("yes") + printed.count("no") == 300


def test_a_wrong_expression_stops_before_anything_runs(made: Project) -> None:
    done = made.run("dvc", "exp", "run", "-S", "features.positive='a > speeed'")

    assert done.returncode != 0
    assert "prepare: error: params.yaml: features.positive: character 5: no column 'speeed'" in done.stderr
