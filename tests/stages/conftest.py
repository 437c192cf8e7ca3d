"""A small table with the kinds of columns that people have, and params that fit it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages._params import Params

ROWS = 200


@pytest.fixture
def table() -> pd.DataFrame:
    """Give 200 rows of numbers, categories, flags and dates, some missing, and the classes да and нет."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a b": rng.normal(size=ROWS),
            "1.x": rng.integers(0, 5, ROWS),
            "class": rng.choice(["é", "x|y", "<script>"], ROWS),
            "flag": rng.random(ROWS) > 0.5,
            "when": pd.date_range("2020-01-01", periods=ROWS, freq="37h"),
            "row": np.arange(ROWS),
            "constant": 1,
            "le": rng.normal(size=ROWS),
        }
    )
    frame.loc[::7, "a b"] = np.nan
    frame.loc[::9, "class"] = None
    frame.loc[::11, "when"] = pd.NaT
    frame["y"] = np.where(frame["le"] + frame["flag"] > 0.5, "да", "нет")
    return frame


@pytest.fixture
def params(root: Path) -> Callable[..., Params]:
    """Give a function that makes params for a table with the target `y`, top-level keys overridden."""
    raw = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))

    def make(path: Path | str = "table.csv", data: dict[str, Any] | None = None, **changes: Any) -> Params:
        changed = copy.deepcopy(raw)
        changed["data"] |= {"path": str(path), "target": "y"} | (data or {})
        changed["split"] = {"method": "random", "test_size": 0.3, "time_column": None, "group_column": None}
        return Params.model_validate(changed | {"n_estimators": 10} | changes)

    return make
