"""`model: auto` as you type it: one experiment, whose choice stands wherever you look, and the same bytes elsewhere."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("auto"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture(scope="module")
def made(project: Callable[..., Project]) -> Project:
    """Return a project whose experiment chose a model."""
    made = project()
    made.ok("dvc", "exp", "run", "-S", "model=auto", "-S", "calibration=sigmoid")
    made.commit("auto")
    return made


def test_git_the_card_the_plot_and_mlflow_say_what_was_tried_and_chosen(made: Project) -> None:
    candidates = json.loads((made.path / "metrics/candidates.json").read_text(encoding="utf-8"))
    chosen = [each["name"] for each in candidates if each["weight"]]
    card = (made.path / "metrics/model_card.md").read_text(encoding="utf-8")
    with (made.path / "metrics/plots/candidates.csv").open(encoding="utf-8") as file:
        plotted = [row["candidate"] for row in csv.DictReader(file)]

    assert len(candidates) == 8
    assert chosen
    assert plotted == [each["name"] for each in candidates]
    assert all(f"| {name} |" in card for name in plotted)
    assert all(name in made.runs()[0].data.tags["auto.chosen"] for name in chosen)
    assert "candidates.json" in [each.path for each in made.client.list_artifacts(made.runs()[0].info.run_id)]


def test_another_folder_and_hash_seed_give_the_same_bytes(made: Project, tmp_path: Path) -> None:
    clone = made.clone(tmp_path / "elsewhere")
    clone.ok("dvc", "repro", "--force", "--no-run-cache", "export", PYTHONHASHSEED="7", OMP_NUM_THREADS="1")

    assert (clone.path / "dvc.lock").read_bytes() == (made.path / "dvc.lock").read_bytes()
