"""README's section on releases, typed as it stands; and a clone that has only pulled."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service import release
from service.release import Release

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("releases")]
SECTION = "## Release"


def commands(root: Path) -> list[str]:
    """What the section's console block has one type."""
    section = (root / "README.md").read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]
    return section.partition("```console\n")[2].partition("```")[0].splitlines()


def history(project: Any) -> list[Release]:
    return list(release.read_history(project.path / release.DEFAULT_FOLDER).values())


def set_up_make(project: Any) -> None:
    """Let `make` find the environment that runs the tests, in place of one to be installed."""
    (project.path / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (project.path / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    for name in (".service", ".pipeline"):
        (project.path / ".venv" / name).touch()


@pytest.fixture(scope="module")
def released(project: Callable[..., Any], root: Path) -> Any:
    """Give a project in which the section was followed, with another model after the first line."""
    made = project(register={"tolerance": 1.0})
    set_up_make(made)
    made.ok("dvc", "repro")
    made.commit("5 trees")
    first, *others = commands(root)
    made.ok("bash", "-c", first)
    made.set(n_estimators=9)
    made.ok("dvc", "repro")
    made.commit("9 trees")
    for command in others:
        made.ok("bash", "-c", command)
    return made


def test_the_section_names_the_commands(root: Path) -> None:
    assert [line.split()[:2] for line in commands(root)] == [["make", "promote"]] * 2 + [["make", "rollback"]]


def test_the_section_followed_releases_the_workspace_then_the_commit_then_goes_back(released: Any) -> None:
    first, second, third = history(released)
    commits = released.ok("git", "log", "--format=%H", "--reverse").split()[1:]

    assert [first.revision, second.revision] == commits
    assert (third.verdict, third.onnx_md5) == ("rollback", first.onnx_md5)
    assert third.reason.endswith(": callers complain")


def test_the_section_followed_leaves_git_clean(released: Any) -> None:
    assert released.ok("git", "status", "--short") == ""


def test_a_release_names_its_version_in_the_registry(released: Any) -> None:
    assert [each.registry.version for each in history(released) if each.registry] == [1, 2, 1]


def test_make_repro_releases_what_it_reproduced(released: Any) -> None:
    released.ok("make", "repro")

    assert history(released)[-1].revision == released.ok("git", "rev-parse", "HEAD").strip()
    assert history(released)[-1].verdict == "accepted"


def test_a_clone_that_has_only_pulled_releases_what_the_commit_names(released: Any, tmp_path: Path) -> None:
    released.ok("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = type(released)(tmp_path / "clone", released.environment)
    clone.ok("dvc", "cache", "dir", "--local", str(released.path / ".dvc/cache"))
    clone.ok("dvc", "checkout", "models/model.onnx")
    clone.ok("python", "-m", "stages.commands.promote")
    (found,) = history(clone)

    assert (found.revision, found.dirty, found.registry) == (history(released)[1].revision, False, None)
    assert not (clone.path / "mlflow.db").exists()


def test_a_model_whose_file_only_the_remote_has_is_promoted_by_its_commit(released: Any, tmp_path: Path) -> None:
    released.ok("dvc", "remote", "add", "--local", "--default", "--force", "shared", str(tmp_path / "remote"))
    released.ok("dvc", "push", "models/model.onnx")
    md5 = history(released)[1].onnx_md5
    shutil.rmtree(released.path / ".dvc/cache/files/md5" / md5[:2])
    (released.path / "models/model.onnx").unlink()
    released.ok("python", "-m", "stages.commands.rollback")
    released.ok("python", "-m", "stages.commands.promote", "--rev", "HEAD")

    assert history(released)[-1].onnx_md5 == md5
