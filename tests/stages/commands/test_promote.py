"""What `promote` releases, and what it refuses before anything changes."""

from pathlib import Path
from typing import Any

import pytest

from service.contract import CategoryFeature
from service.release import MODEL_FILE, NoReleaseError, find_current, marked_as_served
from stages import files
from stages.errors import RefusedError, UserError
from stages.releases import folder
from stages.runs import git
from tests.stages.commands.conftest import COLUMNS, STEP, Workspace, contract, number


def names(workspace: Workspace) -> set[str]:
    return {path.name for path in workspace.releases.iterdir() if path.is_dir() and not path.is_symlink()}


def test_the_workspaces_model_is_copied_with_its_record_once(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    workspace.promote()
    with caplog.at_level("INFO", logger="stages"):
        workspace.promote()
    served = workspace.served()
    file = find_current(workspace.releases) / MODEL_FILE

    assert "is already in service" in caplog.text
    assert names(workspace) == {f"1-{served.onnx_md5[:8]}"}
    assert (file.stat().st_nlink, file.is_symlink()) == (1, False)
    assert served.onnx_md5 == files.md5(files.ONNX)
    assert (file.parent / "slices.csv").read_bytes() == files.SLICES.read_bytes()
    assert (served.model_md5, served.metrics_md5) == (files.md5(files.MODEL), files.md5(files.METRICS))
    assert (served.revision, served.dirty, served.verdict) == (git.head(), False, "accepted")
    assert (served.name, served.training_rows, served.by) == ("mine", 100, "Test")
    assert served.params["data"]["target"] == "y"
    assert "beats the baseline" in served.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: files.ONNX.write_bytes(b"other"), "models/model.onnx of the workspace: differs from the MD5"),
        (lambda: files.METRICS.write_text("{}"), "metrics/metrics.json of the workspace: differs from the MD5"),
        (lambda: files.SLICES.write_text(""), "metrics/slices.csv of the workspace: differs from the MD5"),
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


def test_an_unfinished_run_is_not_released(workspace: Workspace) -> None:
    before = files.LOCK.read_text("utf-8").partition("\n  evaluate:")[2]
    workspace.write(1)
    newer = files.LOCK.read_text("utf-8").partition("\n  evaluate:")[0]
    files.LOCK.write_text(f"{newer}\n  evaluate:{before}", "utf-8")

    with pytest.raises(UserError, match=r"the stage evaluate has not run on the newest models/model\.onnx"):
        workspace.promote()


def test_the_gate_refuses_unless_an_override_has_a_reason(workspace: Workspace) -> None:
    workspace.write(0, roc_auc=0.54)
    with pytest.raises(RefusedError, match=r"does not beat the baseline 0.5000 by 0.05; nothing is in service"):
        workspace.promote()
    with pytest.raises(UserError, match="an override needs a reason"):
        workspace.promote("gate", reason=" ")
    with pytest.raises(NoReleaseError):
        workspace.served()
    assert names(workspace) == set()
    workspace.promote("gate", "contract", reason="the old one is wrong")
    served = workspace.served()

    assert (served.verdict, served.overrides, served.dirty) == ("overridden", ("gate",), True)
    assert "the old one is wrong" in served.reason


CATEGORY = CategoryFeature(name="x1", nullable=False, categories=("a",), bin_shares=(1.0, 0.0))


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"target": "z"}, "it predicts 'z' instead of 'y'"),
        ({"classes": ("maybe", "yes")}, "classes gone: 'no'"),
        ({"columns": COLUMNS - 1}, f"feature gone: 'x{COLUMNS - 1}'"),
        ({"columns": COLUMNS + 1}, f"new required feature: 'x{COLUMNS}'"),
        ({"features": (number("x0"), CATEGORY)}, "type of 'x1': category instead of number"),
        ({"classes": ("maybe", "yes"), "features": (number("x0"), CATEGORY)}, "classes gone: 'no'; feature gone: 'x2'"),
    ],
)
def test_a_contract_that_breaks_running_callers_is_refused(
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


def test_a_new_nullable_feature_breaks_no_caller(workspace: Workspace) -> None:
    workspace.promote()
    workspace.params["register"]["name"] = None  # a champion of another name does not count
    workspace.write(5, features=(*contract().features, number("new", nullable=True)))
    workspace.promote("contract", reason="not needed")

    assert (workspace.served().verdict, workspace.served().overrides) == ("accepted", ())
    assert workspace.served().name == "mine-y"


def test_a_model_is_released_within_the_tolerance_and_refused_beyond_it(workspace: Workspace) -> None:
    workspace.promote()
    workspace.write(2)
    expected = r"worse by more than 0.006: roc_auc 0.8900 against 0.9000 of .*difference -"
    with pytest.raises(RefusedError, match=expected):
        workspace.promote()
    workspace.write(1)
    workspace.promote()

    assert len(workspace.history()) == 2
    assert "roc_auc 0.8950 against 0.9000 of release 1-" in workspace.served().reason


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
    assert workspace.history()[1].reason.count("roc_auc") == 1  # it says once what was overridden


def test_a_model_that_is_in_service_again_is_compared_once(workspace: Workspace) -> None:
    workspace.promote()
    workspace.write(4)
    workspace.promote("champion", reason="the others are wrong")
    workspace.rollback(reason="they were right")
    workspace.write(2)

    with pytest.raises(RefusedError) as refusal:
        workspace.promote()
    assert str(refusal.value).count("roc_auc 0.8900 against 0.9000") == 1


def test_the_best_model_outlasts_the_older_ones(workspace: Workspace) -> None:
    workspace.promote()
    best = find_current(workspace.releases).name
    for number_ in range(1, 8):
        workspace.write(1, lean=number_)
        workspace.promote("champion", reason="as good")  # a tie, which is no refusal
    kept = {name for name in names(workspace) if (workspace.releases / name / MODEL_FILE).exists()}

    assert len(workspace.history()) == 8
    assert kept == {best, *sorted(names(workspace), key=lambda name: int(name.partition("-")[0]))[-5:]}


def test_a_tie_replaces_nothing_without_an_override(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    workspace.promote()
    md5 = workspace.write(0, lean=1)
    with caplog.at_level("INFO", logger="stages"):
        workspace.promote()
    assert len(workspace.history()) == 1
    assert "nothing released: no better and no worse" in caplog.text
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

    with pytest.raises(RefusedError, match="cannot be compared: it is unknown which rows it was trained on"):
        workspace.promote()
    workspace.promote("champion", reason="a new table")


def test_a_commit_is_released_by_its_name(workspace: Workspace) -> None:
    first, md5 = git.head(), files.md5(files.ONNX)
    cached = workspace.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True)
    Path(".dvc/config").write_text("", "utf-8")
    cached.write_bytes(files.ONNX.read_bytes())
    workspace.write(1)
    workspace.commit()
    workspace.promote(rev="HEAD~1")

    assert (workspace.served().onnx_md5, workspace.served().revision, workspace.served().dirty) == (md5, first, False)


@pytest.mark.parametrize(
    ("rev", "message"), [("nowhere", "neither a commit nor one experiment"), ("HEAD", "dvc.lock of HEAD .*is missing")]
)
def test_a_commit_without_results_is_refused(workspace: Workspace, rev: str, message: str) -> None:
    git._git("rm", "--quiet", "--cached", "dvc.lock")
    git._git("commit", "--quiet", "--message", "Remove it")

    with pytest.raises(UserError, match=message):
        workspace.promote(rev=rev)


def test_nothing_is_released_beside_a_running_service(workspace: Workspace) -> None:
    workspace.promote()
    workspace.write(1)
    with marked_as_served(workspace.releases):
        assert folder.is_served(workspace.releases)
        workspace.promote(unless_served=True)
    assert len(workspace.history()) == 1
    workspace.promote(unless_served=True)
    assert len(workspace.history()) == 2


@pytest.mark.parametrize("below", [".", "releases"])
def test_a_file_in_place_of_the_folder_is_told_in_one_line(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    monkeypatch.setenv("RELEASES", str(Path("params.yaml").absolute() / below))
    with pytest.raises(UserError, match=r"params.yaml.*: is not a folder and cannot be created: .*; set RELEASES"):
        workspace.promote()
