"""validate and prepare need memory for a column or a row group, not for the table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.peak_memory import run_stage

ROWS, BOUND = 1_000_000, 620_000_000


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """Return a folder with a table of 1,000,000 rows and 21 columns; a moment differs in every row."""
    random = np.random.default_rng(0)
    names = np.array([f"town {number}" for number in range(500)])
    columns: dict[str, Any] = {f"town{place}": pd.Series(random.choice(names, ROWS), dtype="str") for place in range(6)}
    columns |= {f"number{place}": random.normal(size=ROWS).round(3) for place in range(13)}
    columns["when"] = pd.Series(pd.date_range("2020-01-01", periods=ROWS, freq="s", unit="us"))
    columns["y"] = np.where(columns["number0"] + random.normal(size=ROWS) > 1, "late", "on time")
    pd.DataFrame(columns).to_parquet(tmp_path / "t.parquet", index=False)
    params = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    params["data"] |= {"path": "t.parquet", "target": "y"}
    params["split"] |= {"method": "time", "time_column": "when"}
    params |= {"features": {"sum": "number0 + number1"}, "validate": {"suite": None}}
    (tmp_path / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_a_million_rows_are_validated_and_prepared_below_the_bound(project: Path, root: Path) -> None:
    for stage in ("validate", "prepare"):
        assert run_stage(stage, project, root) < BOUND, stage
    assert sorted(path.name for path in (project / "data").rglob("*") if path.is_file()) == [
        "schema.json",
        "test.parquet",
        "train.parquet",
        "typed.parquet",
    ]
