"""Small artifacts, and folders with releases of them, as the pipeline leaves them."""

import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from fastapi import FastAPI
from onnx import TensorProto, helper

from service import release
from service.auth.access import Access
from service.contract import COVERAGE_KEY, Contract, NumberFeature
from service.coverage import Coverage
from service.release import CURRENT, MODEL_FILE, RELEASE_FILE, Release
from service.settings import Settings

SECRET = "a-secret-for-tests-of-32-bytes-or-more"
CLASSES = ("no", "yes")


def contract(columns: int = 2, **changes: Any) -> Contract:
    """Return a contract of numbers between 0 and 1."""
    features = tuple(
        NumberFeature(
            name=f"x{column}", nullable=False, minimum=0, maximum=1, bin_edges=(0.5,), bin_shares=(0.5, 0.5, 0)
        )
        for column in range(columns)
    )
    fields = {"task": "binary", "target": "y", "classes": CLASSES, "positive": "yes", "features": features}
    return Contract(**fields | changes)


def stump(lean: float = 0.0, column: int = 0) -> onnx.NodeProto:
    """Return a tree that predicts yes if a column is above 0.5; `lean` moves so many hundredths to yes."""
    yes = np.array([0.3, 0.7]) + lean / 100
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        ["probabilities"],
        domain="ai.onnx.ml",
        n_targets=len(CLASSES),
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_featureids=[column, 0, 0],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0, 0, 0],
        target_nodeids=[1, 1, 2, 2],
        target_ids=[0, 1, 0, 1],
        target_weights=np.stack([1 - yes, yes], axis=1).ravel().tolist(),
    )


def graph(
    nodes: Sequence[onnx.NodeProto], initializers: Sequence[TensorProto] = (), columns: int = 2
) -> onnx.ModelProto:
    """Wrap nodes from ``X`` to ``probabilities``, without a contract."""
    made = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(CLASSES)])],
        initializers,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def with_contract(model: onnx.ModelProto, text: str | None = None) -> bytes:
    """Put a contract into the model and give its bytes."""
    helper.set_model_props(model, {"contract": contract().model_dump_json() if text is None else text})
    return bytes(model.SerializeToString(deterministic=True))


def with_coverage(path: Path, **changes: Any) -> bytes:
    """Return a model's file with the errors 0.01, 0.02, … 0.99: with the level 0.9, the 90th smallest is the bound."""
    made = onnx.load(path)
    errors = tuple(round(number / 100, 2) for number in range(1, 100))
    about = Coverage(levels=(0.9,), rows=99, units=99, ranks=tuple(range(1, 100)), errors=errors)
    made.metadata_props.add(key=COVERAGE_KEY, value=about.model_copy(update=changes).model_dump_json())
    return bytes(made.SerializeToString())


def onnx_bytes(lean: float = 0.0) -> bytes:
    """Return a complete artifact; each `lean` makes another version."""
    return with_contract(graph([stump(lean)]))


def md5_of(content: bytes) -> str:
    return md5(content, usedforsecurity=False).hexdigest()


class Root:
    """A folder with releases in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.releases = folder / "models/releases"
        self.releases.mkdir(parents=True, exist_ok=True)

    @property
    def current(self) -> Path:
        """Folder of the release in service."""
        return release.find_current(self.releases)

    @property
    def model(self) -> Path:
        """Model of the release in service."""
        return self.current / MODEL_FILE

    def write(self, content: bytes, metrics: bytes = b'{"roc_auc": 0.7, "threshold": 0.4}', **changes: Any) -> str:
        """Make a release and make it current; return the version."""
        self.promote(self.prepare(content, metrics, **changes))
        return md5_of(content)

    def prepare(self, content: bytes, metrics: bytes = b'{"roc_auc": 0.7, "threshold": 0.4}', **changes: Any) -> Path:
        """Write a release that is not current yet; give its folder."""
        made = make_release(content, metrics=json.loads(metrics), metrics_md5=md5_of(metrics), **changes)
        numbers = [release.sequence_of(each.name) or 0 for each in self.releases.iterdir()]
        folder = self.releases / f"{max(numbers, default=0) + 1}-{made.onnx_md5[:8]}"
        folder.mkdir()
        (folder / MODEL_FILE).write_bytes(content)
        (folder / RELEASE_FILE).write_text(made.model_dump_json(), encoding="utf-8")
        return folder

    def promote(self, folder: Path) -> None:
        """Make a release current by a rename."""
        beside = self.releases / "beside"
        beside.symlink_to(folder.name)
        beside.replace(self.releases / CURRENT)

    def replace(self, path: Path, content: bytes) -> None:
        """Write beside, then rename."""
        beside = path.with_suffix(".beside")
        beside.write_bytes(content)
        beside.replace(path)

    def settings(self, **changes: Any) -> Settings:
        fixed = {"secret_key": SECRET, "releases": self.releases, "reload_seconds": 0.2, "metrics_seconds": 0.001}
        return Settings.model_validate(fixed | changes)

    def environment(self) -> dict[str, str]:
        return {
            "SECRET_KEY": SECRET,
            "RELEASES": str(self.releases),
            "RELOAD_SECONDS": "0.2",
            "METRICS_SECONDS": "0.001",
        }


def make_release(content: bytes, **changes: Any) -> Release:
    """Make the release.json of a model."""
    fields: dict[str, Any] = {
        "name": "flights",
        "onnx_md5": md5_of(content),
        "model_md5": "a" * 32,
        "data_md5": "d" * 32,
        "table_md5": "c" * 32,
        "metrics_md5": "e" * 32,
        "revision": None,
        "dirty": False,
        "verdict": "accepted",
        "reason": "better than the baseline",
        "by": "Ada",
        "at": datetime.now(UTC),
        "metrics": {},
        "params": {"n_estimators": 10},
        "registry": None,
        "training_rows": 1000,
    }
    return Release(**fields | changes)


def metrics_json(**values: Any) -> bytes:
    return json.dumps(values).encode()


def written(folder: Path) -> Root:
    """Return a root with a small artifact in it."""
    made = Root(folder)
    made.write(onnx_bytes())
    return made


def load_settings(variables: dict[str, str]) -> Settings:
    """Load settings from these variables alone."""
    with patch.dict(os.environ, {"ENV_FILE": os.devnull, **variables}, clear=True):
        return Settings.load()


def when_ready(app: FastAPI) -> Access:
    """Wait until the users database has answered, which the start doesn't do on a busy machine; return its access."""
    while app.state.access.watch.failure:
        time.sleep(0.1)
    access: Access = app.state.access
    return access
