"""Small artifacts, and roots of repositories that hold one, as the pipeline leaves them."""

import json
from collections.abc import Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper

from service.contract import Contract, NumberFeature
from service.settings import Settings

SECRET = "a-secret-for-tests-of-32-bytes-or-more"
CLASSES = ("no", "yes")


def contract(columns: int = 2, **changes: Any) -> Contract:
    """Give a contract of numbers between 0 and 1."""
    features = tuple(
        NumberFeature(
            name=f"x{column}", nullable=False, minimum=0, maximum=1, bin_edges=(0.5,), bin_shares=(0.5, 0.5, 0)
        )
        for column in range(columns)
    )
    fields = {"task": "binary", "target": "y", "classes": CLASSES, "positive": "yes", "features": features}
    return Contract(**fields | changes)


def stump(lean: float = 0.0) -> onnx.NodeProto:
    """Give a tree that says yes where the first column is above 0.5; `lean` hundredths of it move to yes."""
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
        nodes_featureids=[0, 0, 0],
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


def onnx_bytes(lean: float = 0.0) -> bytes:
    """Give a whole artifact; each `lean` makes another version."""
    return with_contract(graph([stump(lean)]))


def md5_of(content: bytes) -> str:
    return md5(content, usedforsecurity=False).hexdigest()


class Root:
    """A folder with an artifact, its metrics and the lock that names them."""

    def __init__(self, folder: Path) -> None:
        self.model = folder / "models/model.onnx"
        self.metrics = folder / "metrics/metrics.json"
        self.lock = folder / "dvc.lock"
        for path in (self.model, self.metrics):
            path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, content: bytes, metrics: bytes = b'{"roc_auc": 0.7, "threshold": 0.4}') -> str:
        """Write everything, in agreement; give the version."""
        self.write_lock(content, metrics)
        self.replace(self.metrics, metrics)
        self.replace(self.model, content)
        return md5_of(content)

    def write_lock(self, content: bytes, metrics: bytes, evaluated: bytes | None = None) -> None:
        model_entry = {"path": "models/model.onnx", "hash": "md5", "md5": md5_of(content)}
        measured = model_entry | {"md5": md5_of(content if evaluated is None else evaluated)}
        stages = {
            "prepare": {"outs": [{"path": "data/prepared/train.parquet", "md5": "d" * 32}]},
            "export": {"outs": [model_entry], "params": {"params.yaml": {"n_estimators": 10}}},
            "evaluate": {"deps": [measured], "outs": [{"path": "metrics/metrics.json", "md5": md5_of(metrics)}]},
            "register": {"params": {"params.yaml": {"register": {"name": "flights"}}}},
        }
        self.replace(self.lock, yaml.safe_dump({"schema": "2.0", "stages": stages}).encode())

    def replace(self, path: Path, content: bytes) -> None:
        """Write beside, then rename, as DVC does."""
        beside = path.with_suffix(".beside")
        beside.write_bytes(content)
        beside.replace(path)

    def settings(self, **changes: Any) -> Settings:
        return Settings(secret_key=SECRET, model_path=self.model, lock_path=self.lock, reload_seconds=0.2, **changes)

    def environment(self) -> dict[str, str]:
        return {"SECRET_KEY": SECRET, "MODEL_PATH": str(self.model), "RELOAD_SECONDS": "0.2"}


def metrics_json(**values: Any) -> bytes:
    return json.dumps(values).encode()


def written(folder: Path) -> Root:
    """Give a root with a small artifact in it."""
    made = Root(folder)
    made.write(onnx_bytes())
    return made
