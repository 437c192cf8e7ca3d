"""What an experiment asks for, wherever you look: derived features, `model: auto`, calibration and groups."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from service.model import load
from stages.features.parts import cut
from tests.e2e.conftest import TABLE, Project, small_table

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.xdist_group("settings"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]
EXPERIMENT = ("model=auto", "calibration=sigmoid", "features.positive='a > 0.5'", "+features.ratio=a / b")

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
    """Return a project whose experiment chose a model and added a feature over a column that is ignored otherwise."""
    made = project(
        small_table().assign(sex=lambda rows: np.where(rows["a"] > 0, "f", "m")),
        data={"ignore": ["b", "sex"]},
        features={"positive": "a > 0"},
        evaluate={"groups": ["sex"], "threshold": 0.5},
        register={"max_difference": {"demographic_parity_difference": 0.1}},
    )
    made.ok("dvc", "exp", "run", *(part for setting in EXPERIMENT for part in ("-S", setting)))
    made.commit("An experiment")
    return made


def read(project: Project, name: str) -> Any:
    """Return a JSON file, or the rows of a CSV file as dictionaries."""
    with (project.path / name).open(encoding="utf-8", newline="") as file:
        return json.load(file) if name.endswith(".json") else list(csv.DictReader(file))


def card(project: Project) -> str:
    return (project.path / "metrics/model_card.md").read_text(encoding="utf-8")


def test_an_experiment_changes_a_feature_and_adds_one(made: Project) -> None:
    contract = read(made, "data/prepared/schema.json")["contract"]

    assert contract["derived"] == {"positive": "a > 0.5", "ratio": "a / b"}
    assert contract["inputs_only"] == ["b"]
    assert {row["feature"] for row in read(made, "metrics/plots/importance.csv")} == {
        "a",
        "b",
        "c",
        "positive",
        "ratio",
    }
    assert "- Derived feature: ratio = a / b" in card(made)
    assert "- Only for derived features: b" in card(made)


def test_git_the_card_the_plot_and_mlflow_say_what_was_tried_and_chosen(made: Project) -> None:
    candidates = read(made, "metrics/candidates.json")
    chosen = [each["name"] for each in candidates if each["weight"]]
    plotted = [row["candidate"] for row in read(made, "metrics/plots/candidates.csv")]

    assert len(candidates) == 8
    assert chosen
    assert plotted == [each["name"] for each in candidates]
    assert all(f"| {name} |" in card(made) for name in plotted)
    assert all(name in made.runs()[0].data.tags["auto.chosen"] for name in chosen)
    assert "candidates.json" in [each.path for each in made.client.list_artifacts(made.runs()[0].info.run_id)]


def test_a_model_whose_groups_differ_too_much_is_refused(made: Project) -> None:
    groups = {row["group"] for row in read(made, "metrics/groups.csv") if row["metric"] == "selection_rate"}
    promoted = made.run("python", "-m", "stages.commands.promote")

    assert groups >= {"f", "m"}
    assert read(made, "metrics/metrics.json")["demographic_parity_difference"] > 0.1
    assert "| sex |" in card(made)
    assert "sex" not in {row["column"] for row in read(made, "metrics/slices.csv")}
    assert promoted.returncode == 3
    assert "demographic_parity_difference" in promoted.stderr.splitlines()[-1]
    assert "above register.max_difference 0.1" in promoted.stderr.splitlines()[-1]


def test_another_folder_and_hash_seed_give_the_same_bytes(made: Project, tmp_path: Path) -> None:
    clone = made.clone(tmp_path / "elsewhere")
    clone.ok("dvc", "repro", "--force", "--no-run-cache", "export", PYTHONHASHSEED="7", OMP_NUM_THREADS="1")

    assert (clone.path / "dvc.lock").read_bytes() == (made.path / "dvc.lock").read_bytes()


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


def test_mlflow_s_model_loads_without_the_repository(made: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    away = tmp_path_factory.mktemp("away")
    alone = Project(away, made.environment)

    printed = alone.ok(
        sys.executable, "-W", "ignore", "-c", PREDICT, f"sqlite:///{made.path}/mlflow.db", str(made.path / TABLE)
    )

    assert printed.count("yes") + printed.count("no") == 300
