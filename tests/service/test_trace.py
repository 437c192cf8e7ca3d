"""From a prediction's id back to commit, parameters, data and reports."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service import trace
from service.feedback.prediction_ids import PredictionIds
from service.settings import Settings
from tests.service.artifacts import SECRET, Root, onnx_bytes


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Root, list[str]]:
    """Give a repository of two commits, each with a model of its own, and their versions."""
    root = Root(tmp_path)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    versions = []
    for number in (1, 2):
        metrics = json.dumps({"accuracy": number / 10, "threshold": 0.5}).encode()
        versions.append(root.write(onnx_bytes(number), metrics))
        (tmp_path / "metrics/validation.json").write_text(json.dumps({"success": True, "rows": number}))
        subprocess.run(["git", "add", "dvc.lock", "metrics"], cwd=tmp_path, check=True)
        subprocess.run(["git", "commit", "-qm", f"Model {number}"], cwd=tmp_path, check=True)
    return root, versions


def environment(root: Root) -> dict[str, str]:
    return {"SECRET_KEY": SECRET, "ENV_FILE": "/dev/null", "LOCK_PATH": str(root.lock), "MODEL_PATH": str(root.model),
            "DATABASE_URL": f"sqlite:///{root.lock.parent / 'users.db'}"}  # fmt: skip


def made(root: Root, version: str) -> str:
    ids = PredictionIds(Settings.from_environment(environment(root)))
    (text,) = ids.make(version, [("yes", 0.75, True)])
    return text


def told(root: Root, version: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert trace.main([made(root, version)], environment(root)) == 0
    return json.loads(capsys.readouterr().out)


def test_an_old_prediction_leads_to_the_commit_of_its_own_model(
    repository: tuple[Root, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (first, _) = repository
    found = told(root, first, capsys)
    assert (found["model_md5"], found["commit"]["subject"]) == (first, "Model 1")
    assert (found["metrics"]["accuracy"], found["validation"]) == (0.1, {"success": True, "rows": 1})
    assert found["params"] == {"n_estimators": 10, "register": {"name": "flights"}}
    assert found["files"]["data/prepared/train.parquet"] == "d" * 32
    assert found["prediction"]["score"] == 0.75


def test_a_registration_of_another_model_is_not_taken_for_this_one(
    repository: tuple[Root, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (_, second) = repository
    path = root.lock.parent / "metrics/registration.json"
    path.write_text(json.dumps({"model_md5": second, "name": "flights"}))
    assert told(root, second, capsys)["registration"] == {"model_md5": second, "name": "flights"}
    path.write_text(json.dumps({"model_md5": "0" * 32}))
    assert told(root, second, capsys)["registration"] is None


def test_a_prediction_leads_to_the_entries_of_its_model_in_the_registry(
    repository: tuple[Root, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (first, second) = repository
    lines = [
        "# TYPE registered_model_created_timestamp_seconds gauge",
        f'registered_model_created_timestamp_seconds{{name="flights",number="8",version="{second}"}} 2.0',
        f'registered_model_created_timestamp_seconds{{name="flights",number="7",version="{first}"}} 1.0',
        "# TYPE registered_model_champion gauge",
        f'registered_model_champion{{name="flights",number="7",version="{first}"}} 0.0',
        "# TYPE registered_model_info gauge",
        f'registered_model_info{{name="flights",number="7",version="{first}",run_id="abc"}} 1.0',
    ]
    (root.lock.parent / "metrics/registry.prom").write_text("\n".join([*lines, ""]))
    assert told(root, first, capsys)["registry"] == [
        {
            "name": "flights",
            "number": "7",
            "created": "1970-01-01T00:00:01+00:00",
            "champion": False,
            "run_id": "abc",
        }
    ]


def test_without_the_pipelines_word_the_registry_is_not_made_up(
    repository: tuple[Root, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (first, _) = repository
    assert told(root, first, capsys)["registry"] == []


@pytest.mark.parametrize(
    ("version", "said"),
    [(None, "error: It is cut off or changed"), ("0" * 32, "error: no commit's dvc.lock names the model 0000")],
)
def test_what_cannot_be_told_is_said_in_one_line(
    repository: tuple[Root, list[str]], version: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = repository
    text = made(root, version) if version else "nonsense"
    assert trace.main([text], environment(root)) == 1
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
