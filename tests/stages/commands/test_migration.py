"""What the version before kept goes on working: its volume of published files, its store with a champion."""

import gzip
import json
import sqlite3
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from service.release import CURRENT, MODEL_FILE, find_current
from stages import files
from tests.stages.commands.conftest import Workspace, contract, model

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:::mlflow"),
]
STORE = Path(__file__).parent / "store-before-releases.sql.gz"
"""A store with the champion of `make repro` at the last commit before releases; its long texts are cut."""


def publish_as_before(workspace: Workspace) -> Path:
    """Write what the trainer's container published: a folder named by its dvc.lock's MD5, and the link to it."""
    folder = workspace.releases / files.md5(files.LOCK)
    for path in (files.LOCK, files.ONNX, files.METRICS):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.read_bytes())
    (workspace.releases / CURRENT).symlink_to(folder.name)
    return folder


def test_a_volume_of_the_previous_version_becomes_a_release(workspace: Workspace) -> None:
    before = publish_as_before(workspace)
    md5 = files.md5(files.ONNX)
    workspace.write(0, roc_auc=0.5)  # which the gate refuses
    with pytest.raises(Exception, match="does not beat the baseline"):
        workspace.promote()
    served = workspace.served()

    assert (served.verdict, served.onnx_md5, served.name) == ("migrated", md5, "mine")
    assert served.metrics["threshold"] == 0.5
    assert served.params["data"]["target"] == "y"
    assert files.md5(find_current(workspace.releases) / MODEL_FILE) == md5
    assert not before.exists()


def test_a_volume_that_holds_something_else_is_left_alone(workspace: Workspace) -> None:
    (publish_as_before(workspace) / "dvc.lock").unlink()

    with pytest.raises(Exception, match="lacks files; remove the link"):
        workspace.promote()


@pytest.fixture
def store(workspace: Workspace) -> str:
    """Return a workspace with the store of the previous version; the tests can score the champion's ONNX file."""
    with sqlite3.connect("mlflow.db") as database:
        database.executescript(gzip.decompress(STORE.read_bytes()).decode().replace("/REPOSITORY", str(workspace.root)))
    workspace.params["register"]["name"] = "flights"
    workspace.lock()
    content = model(0, contract())
    client = MlflowClient(f"sqlite:///{workspace.root}/mlflow.db")
    version = client.get_model_version_by_alias("flights", "champion")
    client.set_model_version_tag("flights", version.version, "dvc.onnx_md5", files.md5_of(content))
    artifact = workspace.root / "mlartifacts" / str(version.run_id) / "artifacts/onnx/model.onnx"
    artifact.parent.mkdir(parents=True)
    artifact.write_bytes(content)
    return files.md5_of(content)


def test_the_champion_of_the_previous_versions_store_becomes_a_release(workspace: Workspace, store: str) -> None:
    workspace.write(1, roc_auc=0.5)  # which the gate refuses
    with pytest.raises(Exception, match="does not beat the baseline"):
        workspace.promote()
    served = workspace.served()

    assert (served.verdict, served.onnx_md5, served.name, served.training_rows) == (
        "migrated",
        store,
        "flights",
        219285,
    )
    assert served.registry
    assert served.registry.version == 1
    assert (served.metrics["roc_auc"], served.metrics["threshold"]) == (0.6932893201, 0.5)
    assert "fit_seconds" not in served.metrics
    assert served.params["n_estimators"] == 100
    assert served.params["data"]["missing"] == ["", "NA", "NaN", "nan", "null", "NULL", "None"]
    assert json.loads(served.model_dump_json())["params"]["class_weight"] is None


def test_the_champions_alias_stays_and_its_history_continues(workspace: Workspace, store: str) -> None:
    client = MlflowClient(f"sqlite:///{workspace.root}/mlflow.db")
    workspace.promote()
    found = client.get_registered_model("flights")

    assert {alias: str(version) for alias, version in found.aliases.items()} == {"champion": "1"}
    assert len([key for key in found.tags if key.startswith("alias.moved.")]) == 1
