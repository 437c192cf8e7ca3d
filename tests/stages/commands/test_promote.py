"""What `promote` releases, and what it refuses before anything moves."""

from pathlib import Path
from typing import Any

import pytest

from service.contract import CategoryFeature
from service.release import MODEL_FILE, NoReleaseError, find_current, is_served, marked_as_served
from stages import files
from stages.errors import RefusedError, UserError
from stages.runs import git
from tests.stages.commands.conftest import COLUMNS, STEP, Workspace, contract, number


def names(workspace: Workspace) -> set[str]:
    return {path.name for path in workspace.releases.iterdir() if path.is_dir() and not path.is_symlink()}


def test_the_workspaces_model_is_released_with_all_facts(workspace: Workspace) -> None:
    workspace.promote()
    served = workspace.served()

    assert find_current(workspace.releases).name == f"1-{served.onnx_md5[:8]}"
    assert served.onnx_md5 == files.md5(files.ONNX)
    assert (served.model_md5, served.metrics_md5) == (files.md5(files.MODEL), files.md5(files.METRICS))
    assert (served.revision, served.dirty, served.verdict) == (git.head(), False, "accepted")
    assert (served.name, served.training_rows, served.by) == ("mine", 100, "Test")
    assert served.params["data"]["target"] == "y"
    assert "beats the baseline" in served.reason


def test_an_uncommitted_run_is_marked_as_dirty(workspace: Workspace) -> None:
    workspace.write(1)
    workspace.promote()

    assert workspace.served().dirty


def test_the_released_file_shares_nothing_with_the_workspace(workspace: Workspace) -> None:
    workspace.promote()
    released = find_current(workspace.releases) / MODEL_FILE

    assert (released.stat().st_nlink, released.is_symlink()) == (1, False)


def test_a_released_model_is_not_released_twice(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    workspace.promote()
    with caplog.at_level("INFO", logger="stages"):
        workspace.promote()

    assert len(workspace.history()) == 1
    assert "is in service already" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda: files.ONNX.write_bytes(b"other"),
            "models/model.onnx of the workspace: is not the file that dvc.lock names",
        ),
        (
            lambda: files.METRICS.write_text("{}"),
            "metrics/metrics.json of the workspace: is not the file that dvc.lock names",
        ),
        (files.SCHEMA.unlink, "data/prepared/schema.json of the workspace: is missing"),
        (files.LOCK.unlink, "dvc.lock of the workspace: is missing"),
        (lambda: files.LOCK.write_text("{"), "dvc.lock of the workspace: is not a lock file"),
        (lambda: files.LOCK.write_text("stages: {}"), "the stage export has not run"),
    ],
)
def test_files_that_do_not_belong_together_are_not_released(workspace: Workspace, change: Any, message: str) -> None:
    change()

    with pytest.raises(UserError, match=message):
        workspace.promote()
    assert not workspace.history()


def test_a_run_that_ended_half_way_is_not_released(workspace: Workspace) -> None:
    before = files.LOCK.read_text("utf-8").partition("\n  evaluate:")[2]
    workspace.write(1)
    newer = files.LOCK.read_text("utf-8").partition("\n  evaluate:")[0]
    files.LOCK.write_text(f"{newer}\n  evaluate:{before}", "utf-8")

    with pytest.raises(UserError, match=r"the stage evaluate has not seen the newest models/model\.onnx"):
        workspace.promote()


def test_the_gate_refuses_and_nothing_moves(workspace: Workspace) -> None:
    workspace.write(0, roc_auc=0.54)

    with pytest.raises(RefusedError, match=r"does not beat the baseline 0.5000 by 0.05; nothing is in service"):
        workspace.promote()
    with pytest.raises(NoReleaseError):
        workspace.served()
    assert names(workspace) == set()


def test_an_override_needs_a_reason_and_is_kept(workspace: Workspace) -> None:
    workspace.write(0, roc_auc=0.54)
    with pytest.raises(UserError, match="an override needs a reason"):
        workspace.promote("gate", reason=" ")
    workspace.promote("gate", reason="the old one is wrong")
    served = workspace.served()

    assert (served.verdict, served.overrides) == ("overridden", ("gate",))
    assert "the old one is wrong" in served.reason


def test_an_override_that_nothing_needed_is_none(workspace: Workspace) -> None:
    workspace.promote("gate", "contract", reason="to be sure")

    assert (workspace.served().verdict, workspace.served().overrides) == ("accepted", ())


CATEGORY = CategoryFeature(name="x1", nullable=False, categories=("a",), bin_shares=(1.0, 0.0))


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"target": "z"}, "it predicts 'z' instead of 'y'"),
        ({"classes": ("maybe", "yes")}, "classes gone: 'no'"),
        ({"columns": COLUMNS - 1}, f"feature gone: 'x{COLUMNS - 1}'"),
        ({"columns": COLUMNS + 1}, f"new required feature: 'x{COLUMNS}'"),
        ({"features": (number("x0"), CATEGORY)}, "type of 'x1': category instead of number"),
    ],
)
def test_what_running_callers_would_trip_over_is_refused(
    workspace: Workspace, changes: dict[str, Any], difference: str
) -> None:
    workspace.promote()
    workspace.params["register"]["name"] = "another"  # so that no champion counts
    workspace.write(0, **changes)

    with pytest.raises(RefusedError, match=r"callers of release 1-.* would break: ") as refusal:
        workspace.promote()
    assert difference in str(refusal.value)
    assert len(workspace.history()) == 1
    workspace.promote("contract", reason="the callers know")
    assert workspace.served().overrides == ("contract",)


def test_all_differences_stand_in_one_line(workspace: Workspace) -> None:
    workspace.promote()
    workspace.write(0, classes=("maybe", "yes"), features=(number("x0"), CATEGORY))

    with pytest.raises(RefusedError, match=r"classes gone.*feature gone.*type of 'x1'"):
        workspace.promote()


def test_a_new_feature_that_may_be_missing_harms_nobody(workspace: Workspace) -> None:
    workspace.promote()
    workspace.params["register"]["name"] = "another"
    optional = (*contract().features, number("new", nullable=True))
    workspace.write(0, features=optional)
    workspace.promote()

    assert workspace.served().verdict == "accepted"


def test_a_model_within_the_tolerance_is_released(workspace: Workspace) -> None:
    workspace.promote()
    workspace.write(1)
    workspace.promote()

    assert "roc_auc 0.8950 against 0.9000 of release 1-" in workspace.served().reason


def test_a_model_worse_by_more_is_refused_with_the_interval(workspace: Workspace) -> None:
    workspace.promote()
    workspace.write(2)

    with pytest.raises(
        RefusedError, match=r"worse by more than 0.006: roc_auc 0.8900 against 0.9000 of .*difference -"
    ):
        workspace.promote()
    assert len(workspace.history()) == 1


def test_a_chain_of_models_each_within_the_tolerance_stops(workspace: Workspace) -> None:
    for column in range(5):
        workspace.write(column)
        try:
            workspace.promote()
        except RefusedError:
            break

    assert column == 2, f"{column} steps of {STEP} below the best one"
    assert len(workspace.history()) == 2


def test_an_override_makes_the_model_the_best_one(workspace: Workspace) -> None:
    workspace.promote()
    workspace.write(4)
    workspace.promote("champion", reason="the others are wrong")
    workspace.write(5)
    workspace.promote()

    assert [each.verdict for each in workspace.history()] == ["accepted", "overridden", "accepted"]


def test_the_best_model_outlasts_the_older_ones(workspace: Workspace) -> None:
    workspace.promote()
    best = find_current(workspace.releases).name
    for number_ in range(1, 8):
        workspace.write(1, lean=number_)
        workspace.promote("champion", reason="as good")  # a tie, which is no refusal
    kept = {name for name in names(workspace) if (workspace.releases / name / MODEL_FILE).exists()}

    assert len(workspace.history()) == 8
    assert kept == {best, *sorted(names(workspace), key=lambda name: int(name.partition("-")[0]))[-5:]}


def test_a_tie_replaces_nothing(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    workspace.promote()
    workspace.write(0, lean=1)
    with caplog.at_level("INFO", logger="stages"):
        workspace.promote()

    assert len(workspace.history()) == 1
    assert "nothing released: no better and no worse" in caplog.text


def test_a_tie_is_released_by_an_override(workspace: Workspace) -> None:
    workspace.promote()
    md5 = workspace.write(0, lean=1)
    workspace.promote("champion", reason="it is smaller")

    assert (workspace.served().onnx_md5, workspace.served().overrides) == (md5, ("champion",))


def test_another_threshold_of_the_same_model_is_released(workspace: Workspace) -> None:
    workspace.promote()
    files.METRICS.write_text('{"roc_auc": 0.9, "baseline_roc_auc": 0.5, "threshold": 0.3}', "utf-8")
    workspace.lock()
    workspace.promote()

    assert [each.metrics["threshold"] for each in workspace.history()] == [0.5, 0.3]


def test_a_champion_whose_training_rows_are_not_known_is_not_comparable(workspace: Workspace) -> None:
    workspace.promote()
    (find_current(workspace.releases) / "schema.json").unlink()
    workspace.write(1)

    with pytest.raises(RefusedError, match="cannot be compared: it is not known any more which rows it was trained on"):
        workspace.promote()
    workspace.promote("champion", reason="a new table")


def test_a_champion_of_another_name_does_not_count(workspace: Workspace) -> None:
    workspace.promote()
    workspace.params["register"]["name"] = None
    workspace.write(5)
    workspace.promote()

    assert workspace.served().name == "mine-y"


def test_a_commit_is_released_by_its_name(workspace: Workspace) -> None:
    first, md5 = git.head(), files.md5(files.ONNX)
    cached = workspace.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True)
    git._git("init", "--quiet")
    Path(".dvc/config").write_text("", "utf-8")
    cached.write_bytes(files.ONNX.read_bytes())
    workspace.write(1)
    workspace.commit()
    workspace.promote(rev="HEAD~1")

    assert (workspace.served().onnx_md5, workspace.served().revision, workspace.served().dirty) == (md5, first, False)


@pytest.mark.parametrize(
    ("rev", "message"),
    [("nowhere", "neither a commit nor one experiment"), ("HEAD", "dvc.lock of HEAD .*is missing")],
)
def test_a_commit_without_results_is_refused(workspace: Workspace, rev: str, message: str) -> None:
    git._git("rm", "--quiet", "--cached", "dvc.lock")
    git._git("commit", "--quiet", "--message", "Remove it")

    with pytest.raises(UserError, match=message):
        workspace.promote(rev=rev)


def test_nothing_is_released_beside_a_service_that_is_up(workspace: Workspace) -> None:
    workspace.promote()
    workspace.write(1)
    with marked_as_served(workspace.releases):
        assert is_served(workspace.releases)
        workspace.promote(unless_served=True)
    assert len(workspace.history()) == 1
    workspace.promote(unless_served=True)
    assert len(workspace.history()) == 2
