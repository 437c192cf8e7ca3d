"""What `validate` hands on: the table and its reading rules come back as they were."""

from pathlib import Path

import pandas as pd
import pytest

from service.cells import Reading
from stages.errors import UserError
from stages.table.typed import TypedColumns, open_typed


def test_every_kind_of_column_comes_back_with_its_type(table: pd.DataFrame, tmp_path: Path) -> None:
    table["maybe"] = table["flag"].astype("boolean").mask(table["le"] > 0)
    table["none"] = float("nan")
    table["y"] = table["y"].astype("str")
    table["class"] = table["class"].astype("str")
    reading = Reading(decimal=",", dates={"when": "dmY"}, missing={"*": ("NA",), "class": ()})

    columns = TypedColumns(tmp_path)
    for name in reversed(table.columns):
        columns.add(table[name])
    columns.write([*map(str, table)], reading, tmp_path / "typed.parquet")
    found, rules = open_typed(tmp_path / "typed.parquet")

    pd.testing.assert_frame_equal(found[[*map(str, table)]], table.astype({"when": "datetime64[us]"}))
    assert rules == reading


def test_without_the_typed_table_the_error_says_which_stage_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"typed\.parquet: not found; run `dvc repro validate`"):
        open_typed(tmp_path / "typed.parquet")
