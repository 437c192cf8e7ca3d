"""README's section on releases, typed as written; and a clone that has only pulled."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from service import release
from service.release import Release
from tests.e2e.conftest import Project, set_up_make

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("releases")]
SECTION = "## Release"


def commands(root: Path) -> list[str]:
    """Return the lines of the section's console block."""
    section = (root / "README.md").read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]
    return section.partition("```console\n")[2].partition("```")[0].splitlines()


def history(project: Project) -> list[Release]:
    return list(release.read_history(project.path / release.DEFAULT_FOLDER).values())


def check_out(project: Project, commit: str) -> None:
    project.ok("git", "checkout", "--quiet", commit)
    project.ok("dvc", "checkout", "--quiet")


@pytest.fixture(scope="module")
def released(trained: Callable[[], Project], root: Path) -> Project:
    """Return a project in which the section was followed: the first line at one commit, the others at the next."""
    made = trained()
    set_up_make(made)
    first, *others = commands(root)
    check_out(made, "HEAD~1")
    made.ok("bash", "-c", first)
    check_out(made, "main")
    for command in others:
        made.ok("bash", "-c", command)
    return made


def test_the_section_followed_releases_the_workspace_then_the_commit_then_goes_back(
    released: Project, root: Path
) -> None:
    first, second, third = history(released)
    commits = released.ok("git", "log", "--format=%H", "--reverse").split()[1:]

    assert [line.split()[:2] for line in commands(root)] == [["make", "promote"]] * 2 + [["make", "rollback"]]
    assert [first.revision, second.revision] == commits
    assert (third.verdict, third.onnx_md5) == ("rollback", first.onnx_md5)
    assert third.reason.endswith(": callers complain")
    assert [each.registry.version for each in history(released) if each.registry] == [1, 2, 1]
    assert released.ok("git", "status", "--short") == ""


def test_make_repro_releases_what_it_reproduced(released: Project) -> None:
    released.ok("make", "repro")

    assert history(released)[-1].revision == released.ok("git", "rev-parse", "HEAD").strip()
    assert history(released)[-1].verdict == "accepted"


def test_a_clone_that_has_only_pulled_releases_what_the_commit_names(released: Project, tmp_path: Path) -> None:
    clone = released.clone(tmp_path / "clone")
    clone.ok("dvc", "checkout", "models/model.onnx")
    clone.ok("python", "-m", "stages.commands.promote")
    (found,) = history(clone)

    assert (found.revision, found.dirty, found.registry) == (history(released)[1].revision, False, None)
    assert not (clone.path / "mlflow.db").exists()


def test_a_model_whose_file_only_the_remote_has_is_promoted_by_its_commit(released: Project, tmp_path: Path) -> None:
    released.ok("dvc", "remote", "add", "--local", "--default", "--force", "shared", str(tmp_path / "remote"))
    released.ok("dvc", "push", "models/model.onnx")
    md5 = history(released)[1].onnx_md5
    shutil.rmtree(released.path / ".dvc/cache/files/md5" / md5[:2])
    (released.path / "models/model.onnx").unlink()
    released.ok("python", "-m", "stages.commands.rollback")
    released.ok("python", "-m", "stages.commands.promote", "--rev", "HEAD")

    assert history(released)[-1].onnx_md5 == md5
