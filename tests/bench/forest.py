"""A forest of 100 trees and 12 levels, trained on the demo's rows and exported as the pipeline does it."""

from pathlib import Path

import onnx
import pandas as pd

from service.contract import METADATA_KEY
from service.model import load
from stages import files
from stages.export.__main__ import export
from stages.params.loading import load_params
from stages.train.__main__ import train

ROOT = Path(__file__).parents[2]
_FOREST = ROOT / "build/bench-forest.onnx"
_ROWS = 60_000


def make_forest(model: Path) -> Path:
    """Return the forest's ONNX file, with the metadata of `model`; made once for each version of it."""
    if _FOREST.exists() and _FOREST.stat().st_mtime > model.stat().st_mtime:
        return _FOREST
    wanted = load_params(ROOT / files.PARAMS)
    wanted = wanted.model_copy(update={"model": "random_forest", "n_estimators": 100, "max_depth": 12})
    contract = load(model).contract
    rows = pd.read_parquet(ROOT / files.TRAIN).sample(_ROWS, random_state=0)
    about = {each.key: each.value for each in onnx.load(model).metadata_props if each.key != METADATA_KEY}
    _FOREST.parent.mkdir(exist_ok=True)
    _FOREST.write_bytes(export(train(rows, contract, wanted), contract, **about))
    return _FOREST
