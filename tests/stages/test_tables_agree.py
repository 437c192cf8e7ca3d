"""A table's reader and `service.cells` agree: on every cell of a table, and so on every row sent back."""

import datetime as dt
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from service.cells import Reading, parser
from stages.errors import UserError
from stages.params import DataParams
from stages.table import reader

ROWS = 30
WHOLE = st.integers(-(10**7), 10**7)
NUMBERS = st.floats(-1e9, 1e9).map(lambda number: round(number, 3)) | WHOLE | st.floats(-3e38, 3e38)
MARKS = st.sampled_from([(",", "."), ("", "."), (" ", "."), ("'", "."), (".", ","), ("\u202f", ","), ("", ",")])
MOMENTS = st.datetimes(dt.datetime(1000, 1, 1))  # noqa: DTZ001  # strftime pads no year below 1000
FORMS = st.sampled_from(
    [
        *("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S+0130", "%Y-%m-%d %H:%MZ", "%Y/%m/%d %H:%M"),
        *("%d.%m.%Y", "%m/%d/%Y %I:%M %p", "%d-%b-%y", "%B %d, %Y %H:%M CET", "%m/%d/%y", "%d %b %Y %H:%M EST"),
        *("%Y%m%dT%H%M%S", "%Y-%m", "%b %Y", "%H:%M on %d/%m/%Y"),
    ]
)
BLANKS = st.sampled_from(["", "", " ", "\t", "\u00a0", "\u2003 "])
MISSING = st.sampled_from([None, None, None, "", "NA", " ?"])


def write_number(number: float, marks: tuple[str, str]) -> str:
    thousands, decimal = marks
    text = f"{number:,}" if abs(number) < 1e15 else repr(number)  # 1e+16 has no groups
    return text.replace(",", "\0").replace(".", decimal).replace("\0", thousands)


def column(kind: str) -> st.SearchStrategy[list[str]]:
    match kind:
        case "number":
            values = st.tuples(st.lists(NUMBERS, min_size=ROWS, max_size=ROWS), MARKS).map(
                lambda made: [write_number(number, made[1]) for number in made[0]]
            )
        case "date":
            values = st.tuples(st.lists(MOMENTS, min_size=ROWS, max_size=ROWS), FORMS).map(
                lambda made: [moment.strftime(made[1]) for moment in made[0]]
            )
        case "boolean":
            values = st.lists(st.sampled_from(["true", "False", "TRUE", "0", "1"]), min_size=ROWS, max_size=ROWS)
        case _:
            values = st.lists(st.text(max_size=6), min_size=ROWS, max_size=ROWS)
    around = st.lists(st.tuples(BLANKS, BLANKS, MISSING), min_size=ROWS, max_size=ROWS)
    return st.tuples(values, around).map(
        lambda made: [
            f"{before}{text}{after}" if missing is None else missing
            for text, (before, after, missing) in zip(*made, strict=True)
        ]
    )


def read(texts: list[str], **data: Any) -> "tuple[pd.Series[Any], Reading]":
    """Write the cells as a column of a CSV file, beside a label, and read the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        rows = pd.DataFrame({"a": texts, "y": ["p", "q"] * (ROWS // 2)})
        path.write_bytes(rows.to_csv(index=False, lineterminator="\r\n").encode("utf-8", "replace"))
        table, reading = reader.read_table(
            DataParams(path=str(path), target="y", missing=["NA", "?"], encoding="utf-8", delimiter=",", **data)
        )
        return table["a"], reading


def kind_of(column: "pd.Series[Any]") -> Any:
    if pd.api.types.is_bool_dtype(column.dtype):
        return "boolean"
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "date"
    return "number" if pd.api.types.is_numeric_dtype(column.dtype) else "category"


def same(found: Any, parsed: Any) -> bool:
    if parsed is None or found is pd.NA or found is pd.NaT or (isinstance(found, float) and math.isnan(found)):
        return parsed is None and bool(pd.isna(found))
    if isinstance(parsed, float):
        return bool(np.float32(found) == np.float32(parsed)) and float(found) == parsed
    return bool(found == parsed)


@pytest.mark.parametrize("kind", ["number", "date", "boolean", "text"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_a_cell_means_in_the_service_what_it_meant_in_the_table(kind: str, data: st.DataObject) -> None:
    texts = data.draw(column(kind))
    said: dict[str, Any] = {"decimal": data.draw(st.sampled_from([None, ".", ","]))}
    said["dates"] = {"a": "%H:%M on %d/%m/%Y"} if any(" on " in text for text in texts) else None
    try:
        found, reading = read(texts, **said)
    except UserError:
        assume(False)  # what the table does not take, the service need not read
    parse = parser(kind_of(found), "a", reading)

    assert [(text, value) for text, value in zip(texts, found, strict=True) if not same(value, parse(text))] == []
