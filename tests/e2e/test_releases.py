"""Reproducing and releasing are two acts: promote and rollback as people type them, with real DVC, Git and MLflow."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("releases")]


def current(project: Any) -> str:
    found: str = (project.path / "models/releases/current").readlink().name
    return found


def release(project: Any, name: str = "current") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / f"models/releases/{name}/release.json").read_text("utf-8"))
    return found


def promote(project: Any, *arguments: str, **environment: str) -> Any:
    return project.run("python", "-m", "stages.commands.promote", *arguments, **environment)


@pytest.fixture(scope="module")
def released(project: Callable[..., Any]) -> Any:
    """Give a project whose first model was reproduced, committed and released."""
    made = project()
    made.ok("dvc", "repro")
    made.commit("Results")
    made.ok("python", "-m", "stages.commands.promote")
    return made


def test_the_first_release_says_everything_about_its_model(released: Any) -> None:
    found = release(released)

    assert found["verdict"] == "accepted"
    assert (found["dirty"], found["revision"]) == (False, released.ok("git", "rev-parse", "HEAD").strip())
    assert found["registry"]["version"] == 1
