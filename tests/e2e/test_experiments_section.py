"""README's section on experiments, typed as written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Project, set_up_make

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("experiments section")]
SECTION = "## Experiments"


@pytest.fixture(scope="module")
def shown(trained: Callable[[], Project], root: Path) -> dict[str, str]:
    """Return what each command of the section prints, by its first two words."""
    made = trained()
    set_up_make(made)
    section = (root / "README.md").read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]
    lines = section.partition("```console\n")[2].partition("```")[0].splitlines()
    return {" ".join(line.split()[:2]): made.ok("bash", "-c", line, timeout=900) for line in lines}


def test_the_experiments_are_listed_with_those_of_sweep_and_search(shown: dict[str, str]) -> None:
    listed = shown["make experiments"]
    assert "my-experiment" in listed
    assert "trial-" in listed


def test_two_revisions_are_compared(shown: dict[str, str]) -> None:
    assert "my-experiment" in shown["make compare"]


def test_plots_are_a_page(shown: dict[str, str]) -> None:
    assert shown["dvc plots"].strip().endswith(".html")
