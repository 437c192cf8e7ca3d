"""A small table with the kinds of columns that people have, and params that fit it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages.params.params import Params

ROWS = 200


@pytest.fixture
def table() -> pd.DataFrame:
    """Return 200 rows of numbers, categories, flags and dates, some missing, and the classes да and нет."""
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
    """Return a function that makes params for a table with the target `y`, top-level keys overridden."""
    raw = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))

    def make(path: Path | str = "table.csv", data: dict[str, Any] | None = None, **changes: Any) -> Params:
        changed = copy.deepcopy(raw)
        changed["data"] |= {"path": str(path), "target": "y", "positive": None} | (data or {})
        changed["split"] = {"method": "random", "test_size": 0.3, "time_column": None, "group_column": None}
        return Params.model_validate(changed | {"model": "random_forest", "n_estimators": 10, "features": {}} | changes)

    return make


@pytest.fixture
def hard_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with numbers over the whole range of float32, large offsets, a third of all missing."""
    rng = np.random.default_rng(1)
    table["huge"] = rng.normal(size=ROWS) * 1e30
    table["tiny"] = rng.normal(size=ROWS) * 1e-30
    table["ends"] = rng.choice([3.4e38, -3.4e38, 0.0], ROWS)
    table["offset"] = 1e9 + rng.normal(size=ROWS) * 100
    table["skewed"] = np.exp(rng.normal(size=ROWS) * 10)
    # Half of these occur once: the test rows have categories that the training rows don't.
    table["rare"] = [f"k{number}" for number in rng.integers(0, ROWS // 2, ROWS)]
    for name in table.columns.difference(["y", "flag", "row", "constant"]):
        table.loc[rng.random(ROWS) < 1 / 3, name] = pd.NaT if name == "when" else None
    return table
