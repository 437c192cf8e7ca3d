"""From a prediction's id back to release, commit, parameters, data and reports."""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from service import lineage
from service.feedback import PredictionIds
from service.release import RELEASE_FILE, Registry
from tests.service.artifacts import Root, load_settings, metrics_json, onnx_bytes


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Root, list[str]]:
    """Return a clone with two commits, a release of each, and their versions."""
    root, versions = Root(tmp_path), []
    git(tmp_path, "init", "-q")
    (tmp_path / "metrics").mkdir()
    monkeypatch.setattr(lineage, "ROOT", tmp_path)
    for number in (1, 2):
        (tmp_path / "metrics/validation.json").write_text(json.dumps({"success": True, "rows": number}))
        git(tmp_path, "add", "metrics")
        git(tmp_path, "commit", "-qm", f"Model {number}")
        metrics = metrics_json(accuracy=number / 10, threshold=0.5)
        registry = Registry(version=number, run_id=f"run{number}", registered_at=datetime(2026, 1, number, tzinfo=UTC))
        revision = git(tmp_path, "rev-parse", "HEAD")
        versions.append(root.write(onnx_bytes(number), metrics, revision=revision, registry=registry))
    return root, versions


def environment(root: Root) -> dict[str, str]:
    return {**root.environment(), "ENV_FILE": "/dev/null", "DATABASE_URL": f"sqlite:///{root.folder / 'users.db'}"}


def made(root: Root, version: str) -> str:
    ids = PredictionIds(load_settings(environment(root)))
    (text,) = ids.make(version, [("yes", 0.75, True)])
    return text


def run(root: Root, text: str) -> int:
    with patch.dict(os.environ, environment(root)):
        return lineage.main([text])


def lineage_of(root: Root, version: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert run(root, made(root, version)) == 0
    return json.loads(capsys.readouterr().out)


def test_an_old_prediction_leads_to_release_commit_and_registry_of_its_own_model(
    repository: tuple[Root, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (first, _) = repository
    found = lineage_of(root, first, capsys)
    assert (found["onnx_md5"], found["commit"]["subject"]) == (first, "Model 1")
    assert (found["metrics"]["accuracy"], found["validation"]) == (0.1, {"success": True, "rows": 1})
    assert (found["params"], found["data_md5"]) == ({"n_estimators": 10}, "d" * 32)
    assert found["prediction"]["score"] == 0.75
    (release,) = found["releases"]
    assert (release["folder"], release["verdict"]) == (f"1-{first[:8]}", "accepted")
    assert release["registry"] == {"version": 1, "run_id": "run1", "registered_at": "2026-01-01T00:00:00Z"}


def test_every_release_of_the_model_is_listed_and_the_one_at_that_time_describes_it(
    repository: tuple[Root, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (first, _) = repository
    root.write(onnx_bytes(1), metrics_json(accuracy=0.3), verdict="rollback")
    root.write(onnx_bytes(1), metrics_json(accuracy=0.4), at=datetime(2100, 1, 1, tzinfo=UTC))
    found = lineage_of(root, first, capsys)
    assert [each["verdict"] for each in found["releases"]] == ["accepted", "rollback", "accepted"]
    assert (found["metrics"]["accuracy"], found["commit"]) == (0.3, None)


def test_files_that_differed_from_the_commit_have_no_validation_of_it(
    repository: tuple[Root, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = repository
    version = root.write(onnx_bytes(3), revision=git(root.folder, "rev-parse", "HEAD"), dirty=True)
    found = lineage_of(root, version, capsys)
    assert (found["commit"]["subject"], found["validation"]) == ("Model 2", None)


def test_without_the_clone_only_the_id_of_the_commit_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Root(tmp_path)
    version = root.write(onnx_bytes(), revision="a" * 40)
    assert lineage_of(root, version, capsys)["commit"] == {"id": "a" * 40}


@pytest.mark.parametrize("version", [None, "0" * 32])
def test_an_id_that_leads_nowhere_gives_one_line(
    repository: tuple[Root, list[str]], version: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = repository
    expected = (
        f"error: {root.releases}: no release has the model 0000" if version else "error: It was cut off or changed"
    )
    assert run(root, made(root, version) if version else "nonsense") == 1
    error = capsys.readouterr().err
    assert error.startswith(expected)
    assert error.count("\n") == 1


def test_a_damaged_history_is_reported_in_one_line(
    repository: tuple[Root, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (first, _) = repository
    path = root.current / RELEASE_FILE
    path.write_text("{")
    assert run(root, made(root, first)) == 1
    assert capsys.readouterr().err.startswith(f"error: {path}: is damaged")
