"""Going back, and what happens to a folder of releases when a command is killed."""

import os
import signal
from collections.abc import Callable

import pytest

from service.release import MODEL_FILE, find_current
from stages.errors import UserError
from stages.releases import folder
from tests.stages.commands.conftest import Workspace


@pytest.fixture
def three(workspace: Workspace) -> Workspace:
    """Return a workspace with three releases, each better than the one before."""
    for column in (4, 2, 0):
        workspace.write(column)
        workspace.promote()
    return workspace


def test_a_rollback_serves_the_release_before_and_says_who_and_why(three: Workspace) -> None:
    second = three.history()[1]
    three.rollback(reason="callers complain")
    served = three.served()

    assert (served.onnx_md5, served.metrics, served.by) == (second.onnx_md5, second.metrics, "Test")
    assert served.verdict == "rollback"
    assert served.reason == f"back to release 2-{second.onnx_md5[:8]}: callers complain"
    assert served.at > three.history()[2].at
    assert find_current(three.releases).name.startswith("4-")
    assert (find_current(three.releases) / "slices.csv").read_text("utf-8") == "column,value\nx2,0.0\n"


def test_each_rollback_goes_one_further_back(three: Workspace) -> None:
    models = [each.onnx_md5 for each in three.history()]
    three.rollback()
    three.rollback()

    assert three.served().onnx_md5 == models[0]
    with pytest.raises(UserError, match="is the first release; choose another"):
        three.rollback()


def test_a_model_that_was_promoted_again_goes_back_to_the_one_before(three: Workspace) -> None:
    three.write(2)
    three.promote("champion", reason="once more")
    three.rollback()

    assert three.served().onnx_md5 == three.history()[2].onnx_md5


@pytest.mark.parametrize("to", ["1", "name"])
def test_a_rollback_to_a_named_release(three: Workspace, to: str) -> None:
    first = three.history()[0].onnx_md5
    three.rollback(to=f"1-{first[:8]}" if to == "name" else to)

    assert three.served().onnx_md5 == first


def test_a_rollback_to_the_release_in_service_changes_nothing(three: Workspace) -> None:
    three.rollback(to="3")

    assert len(three.history()) == 3


def test_a_release_that_is_not_there_is_refused_with_those_that_are(three: Workspace) -> None:
    with pytest.raises(UserError, match=r"there is no release 7; there are 1-.*, 2-.*, 3-"):
        three.rollback(to="7")


def test_without_releases_there_is_no_rollback(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="nothing has been released yet"):
        workspace.rollback()


def test_a_release_whose_model_was_deleted_is_refused_with_the_remedy(three: Workspace) -> None:
    next(three.releases.glob(f"1-*/{MODEL_FILE}")).unlink()

    with pytest.raises(UserError, match=r"its model was deleted; .*make promote REV="):
        three.rollback(to="1")


def test_going_back_and_forth_loses_no_model(three: Workspace) -> None:
    for to in "12312312":
        three.rollback(to=to)

    assert len(three.history()) == 11
    assert len([*three.releases.glob(f"[0-9]*/{MODEL_FILE}")]) == 3


def test_a_model_within_the_tolerance_of_the_one_put_back_is_released(three: Workspace) -> None:
    three.rollback()
    three.write(3)
    three.promote()

    assert three.served().verdict == "accepted"


def killed_at(call: int, command: Callable[[], None]) -> bool:
    """Run `command` in a fork that is killed at its n-th change of a folder; return whether it was killed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    calls = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def one(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return one

    for name in ("mkdir", "rename", "replace", "symlink", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    try:
        command()
    finally:
        os._exit(0)


def test_a_command_killed_at_any_moment_leaves_the_old_or_the_new_release(three: Workspace) -> None:
    before = three.served()
    after = three.history()[1].onnx_md5
    outcomes = []
    for call in range(1, 40):
        if not killed_at(call, three.rollback):
            break
        found = folder.current(three.releases)
        assert found
        assert (find_current(three.releases) / MODEL_FILE).exists()
        outcomes.append(found[1].onnx_md5)
        three.rollback(to="3")
        assert three.served().onnx_md5 == before.onnx_md5
        assert not [path.name for path in three.releases.iterdir() if path.name.endswith(".tmp")]
    assert set(outcomes) == {before.onnx_md5, after}
    assert outcomes == sorted(outcomes, key=lambda md5: md5 == after)


def test_releases_without_a_link_are_not_taken_for_leftovers(three: Workspace) -> None:
    (three.releases / "current").unlink()

    with pytest.raises(UserError, match="current: is missing, but there are releases"):
        three.promote()
    assert len([*three.releases.glob("*/release.json")]) == 3
