"""Two models side by side on the same rows."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from stages import files
from stages.commands import compare
from stages.compare.comparison import changed_params
from stages.errors import UserError
from tests.stages.commands.conftest import STEP, Workspace

Run = Callable[..., str]


@pytest.fixture
def run(workspace: Workspace) -> Run:
    """Return a function that commits a run, whose files are in DVC's cache; it returns the commit."""
    (workspace.root / ".dvc").mkdir()
    (workspace.root / ".dvc/config").touch()

    def one(column: int, **changes: Any) -> str:
        workspace.write(column, **changes)
        for path in (files.ONNX, files.TEST):
            md5 = files.md5(path)
            cached = workspace.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
            cached.parent.mkdir(parents=True, exist_ok=True)
            cached.write_bytes(path.read_bytes())
        return workspace.commit()

    return one


def test_a_commit_is_compared_with_the_workspace_on_the_same_rows(
    run: Run, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(0)
    workspace.params["n_estimators"] = 7
    workspace.write(5)

    compare.main(first)

    printed = capsys.readouterr().out
    area = re.search(r"roc_auc +(\S+) +(\S+) +(\S+)  \((\S+) to (\S+)\)", printed)
    assert area
    difference, low, high = (float(area[place]) for place in (3, 4, 5))
    assert difference == pytest.approx(-5 * STEP, abs=1e-4)
    assert low < difference < high
    assert "on the same 400 test rows of B" in printed
    assert re.search(r"n_estimators: \d+ -> 7$", printed, re.MULTILINE)


def test_the_page_has_both_models_and_asks_for_no_other_file(run: Run) -> None:
    first, second = run(0), run(3)

    compare.main(first, second)

    page = files.COMPARISON.read_text(encoding="utf-8")
    assert {first[:7], second[:7]} <= set(re.findall(r"commit (\w{7})", page))
    assert all(chart in page for chart in ("ROC curve", "Calibration", "Thresholds", "Lift"))
    assert re.findall(r"<script|(?:src|href)=\"(?!#)|url\((?!#)", page) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"target": "z"}, "predicts 'z', this model 'y'"), ({"classes": ("yes", "perhaps")}, "it has other classes")],
)
def test_models_of_different_tasks_are_not_compared(
    run: Run, workspace: Workspace, changes: dict[str, object], reason: str
) -> None:
    first = run(0, **changes)
    workspace.write(1)

    with pytest.raises(UserError, match=f"{first} cannot be compared with the workspace: .*{reason}"):
        compare.main(first)
    assert not files.COMPARISON.exists()


def test_parameters_differ_by_their_dotted_names_and_one_that_is_missing_is_null() -> None:
    found = changed_params({"a": 1, "b": {"c": [1], "d": 2}}, {"a": 1, "b": {"c": [1, 2]}, "e": "x"})

    assert found == [("b.c", "[1]", "[1, 2]"), ("b.d", "2", "null"), ("e", "null", '"x"')]


def test_a_revision_that_does_not_exist_is_named(run: Run) -> None:
    run(0)

    with pytest.raises(UserError, match="no-such-branch: is neither a commit nor one experiment"):
        compare.main("no-such-branch")
