"""A workspace as the pipeline leaves it, with models whose scores are known in advance."""

import copy
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from service import release
from service.contract import Contract, NumberFeature
from service.release import Release
from stages import files
from stages.commands import promote, rollback
from stages.runs import git
from stages.schema import Rows, Schema, Split
from tests.service.artifacts import graph, stump, with_contract

ROWS = 400
STEP = 0.005
"""By so much the area under the curve falls from one model to the next."""
COLUMNS = 8
FILES = (files.TRAIN, files.TEST, files.SCHEMA, files.MODEL, files.ONNX, files.METRICS, files.SLICES)
OUTS = {
    "prepare": [files.TRAIN, files.TEST, files.SCHEMA],
    "train": [files.MODEL],
    "export": [files.ONNX],
    "evaluate": [files.METRICS, files.SLICES],
    "register": [],
}
DEPS = {
    "train": [files.TRAIN],
    "export": [files.MODEL, files.TEST],
    "evaluate": [files.ONNX],
    "register": [files.ONNX, files.METRICS],
}


def contract(columns: int = COLUMNS, **changes: Any) -> Contract:
    """Return a contract of numbers x0, x1, … between 0 and 1."""
    features = tuple(number(f"x{column}") for column in range(columns))
    fields = {"task": "binary", "target": "y", "classes": ("no", "yes"), "positive": "yes", "features": features}
    return Contract(**fields | changes)


def number(name: str, **changes: Any) -> NumberFeature:
    fields = {"nullable": False, "minimum": 0, "maximum": 1, "bin_edges": (0.5,), "bin_shares": (0.5, 0.5, 0)}
    return NumberFeature(name=name, **fields | changes)


def model(column: int, made: Contract, lean: float = 0.0) -> bytes:
    """Return an ONNX file that ranks by one column alone; `lean` makes another file with the same ranking."""
    return with_contract(graph([stump(lean, column)], columns=len(made.columns)), made.model_dump_json())


def rows() -> pd.DataFrame:
    """Return test rows in which each column tells the target a little worse than the one before."""
    y = np.arange(ROWS) % 2
    table = {f"x{column}": y.astype(np.float32) for column in range(COLUMNS)}
    for column in range(COLUMNS):
        wrong = 2 * (20 + column)  # rows, half of them of each class
        table[f"x{column}"][:wrong] = 1 - table[f"x{column}"][:wrong]
    return pd.DataFrame(table | {"t": np.arange(ROWS) + 1000, "y": np.where(y == 1, "yes", "no")})


@dataclass
class Workspace:
    """A repository with the outputs of one run."""

    root: Path
    params: dict[str, Any]
    releases: Path = field(init=False)

    def __post_init__(self) -> None:
        self.releases = self.root / release.DEFAULT_FOLDER

    def write(self, column: int, *, lean: float = 0.0, roc_auc: float = 0.9, **changes: Any) -> str:
        """Write the outputs of a run with `model(column)`; `changes` are the contract's. Return the model's MD5."""
        made = contract(**changes)
        split = Split(method="time", column="t", test_size=0.3, train_to="999")
        schema = Schema(
            rows=Rows(read=500, without_target=0, train=100, test=ROWS), split=split, contract=made, left_out=()
        )
        for path in FILES:
            path.parent.mkdir(parents=True, exist_ok=True)
        rows().rename(columns={"y": made.target}).to_parquet(files.TEST)
        files.TRAIN.write_bytes(b"training rows")
        files.SCHEMA.write_text(schema.model_dump_json(), encoding="utf-8")
        files.MODEL.write_bytes(f"{column} {lean}".encode())
        files.ONNX.write_bytes(model(column, made, lean))
        files.METRICS.write_text(json.dumps({"roc_auc": roc_auc, "baseline_roc_auc": 0.5, "threshold": 0.5}), "utf-8")
        files.SLICES.write_text(f"column,value\nx{column},{lean}\n", "utf-8")
        self.lock()
        return files.md5(files.ONNX)

    def lock(self) -> None:
        """Write params.yaml, and a dvc.lock that names the files as they are."""
        with files.PARAMS.open("w", encoding="utf-8") as file:
            YAML().dump(self.params, file)
        stages = {
            stage: {
                "deps": [{"path": str(path), "md5": files.md5(path)} for path in DEPS.get(stage, [])],
                "outs": [{"path": str(path), "md5": files.md5(path)} for path in outs],
                "params": {"params.yaml": self.params},
            }
            for stage, outs in OUTS.items()
        }
        with files.LOCK.open("w", encoding="utf-8") as file:
            YAML().dump({"schema": "2.0", "stages": stages}, file)

    def commit(self) -> str:
        """Commit what Git tracks; return the commit."""
        git._git("add", "params.yaml", "dvc.lock", "metrics", "data/prepared/schema.json", ".gitignore")
        git._git("commit", "--quiet", "--message", "Results")
        return str(git.head())

    def promote(self, *overrides: str, **options: Any) -> None:
        """Run the command."""
        asked = {"version": None, "rev": None, "reason": "", "unless_served": False} | options
        promote.main(overrides=list(overrides), **asked)

    def rollback(self, to: str | None = None, reason: str = "") -> None:
        """Run the command."""
        rollback.main(to=to, reason=reason)

    def served(self) -> Release:
        """Return the release in service."""
        return release.load(release.find_current(self.releases))

    def history(self) -> list[Release]:
        """Return all releases, the oldest first."""
        return list(release.read_history(self.releases).values())


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Workspace:
    """Return a workspace to copy, in which model 0 was trained; nothing is released."""
    raw = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    raw["data"] |= {"path": "data/mine.csv", "target": "y", "positive": None}
    raw["features"] = {}
    raw["register"] = {"name": "mine", "min_gain": 0.05, "tolerance": STEP * 1.2, "required": False}
    made = Workspace(tmp_path_factory.mktemp("template"), raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.root)
        git._git("init", "--quiet", "--initial-branch=main")
        Path(".gitignore").write_text("*.parquet\n*.onnx\n*.joblib\n/models/\n", encoding="utf-8")
        made.write(0)
        made.commit()
    return made


@pytest.fixture
def workspace(template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Return a copy of the template, as the working directory."""
    shutil.copytree(template.root, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # MLflow itself sets it, for all tests that follow
    return Workspace(tmp_path, copy.deepcopy(template.params))
