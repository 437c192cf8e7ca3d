"""The reader agrees with `service.cells` on every cell and with pandas on every row; no bytes break it."""

import contextlib
import datetime as dt
import gzip
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from service.cells import Reading, parser
from stages.errors import UserError
from stages.params.sections import DataParams
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

WORDS = st.text(st.characters(categories=["Ll", "Lu"], max_codepoint=0xFF), min_size=1, max_size=9).filter(
    lambda word: word.casefold() not in {"true", "false", "inf", "infinity", "nan", "null", "none", "na"}
)
# Without a carriage return, which pandas does not quote.
TEXT = st.tuples(WORDS, st.text("abc ,;\t|'\"\n:^0", max_size=6), WORDS).map("".join)
ROW = st.tuples(st.floats(-1e30, 1e30), TEXT, st.booleans(), WORDS)
PIECES = [b"a", b"y", b"1", b"-", b".", b",", b";", b'"', b"\n", b"\r\n", b"\t", b"2020-01-31", b"\xe9", b"NA"]
CSV_BYTES = st.lists(st.sampled_from(PIECES)).map(b"".join)
ANY_BYTES = st.one_of(st.binary(max_size=300), CSV_BYTES, st.binary(max_size=99).map(gzip.compress))


def read(content: bytes, **data: Any) -> tuple[pd.DataFrame, Reading]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(content)
        return reader.read_table(DataParams(path=str(path), target="y", **data))


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
@settings(max_examples=30, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_a_cell_means_in_the_service_what_it_meant_in_the_table(kind: str, data: st.DataObject) -> None:
    texts = data.draw(column(kind))
    dates = {"a": "%H:%M on %d/%m/%Y"} if any(" on " in text for text in texts) else None
    rows = pd.DataFrame({"a": texts, "y": ["p", "q"] * (ROWS // 2)})
    content = rows.to_csv(index=False, lineterminator="\r\n").encode("utf-8", "replace")
    decimal = data.draw(st.sampled_from([None, ".", ","]))
    try:
        table, reading = read(content, missing=["NA", "?"], delimiter=",", dates=dates, decimal=decimal)
    except UserError:
        assume(False)  # what the table does not take, the service need not read
    parse = parser(kind_of(table["a"]), "a", reading)

    assert [pair for pair in zip(texts, table["a"], strict=True) if not same(pair[1], parse(pair[0]))] == []


@given(rows=st.lists(ROW, min_size=1, max_size=8), delimiter=st.sampled_from(",;\t|"))
@settings(max_examples=60, phases=[Phase.explicit, Phase.generate])
def test_what_pandas_writes_is_read_back(rows: list[tuple[float, str, bool, str]], delimiter: str) -> None:
    frame = pd.DataFrame(rows, columns=["große Zahl", "a.b", "class", "y"])

    found, _ = read(frame.to_csv(index=False, sep=delimiter).encode())

    pd.testing.assert_frame_equal(found, frame, check_dtype=False)


@given(ANY_BYTES)
@settings(max_examples=100, phases=[Phase.explicit, Phase.generate])
def test_any_bytes_give_a_table_or_one_line_within_a_second(content: bytes) -> None:
    start = time.perf_counter()
    with contextlib.suppress(UserError):
        assert "y" in read(content)[0]
    assert time.perf_counter() - start < 1


@given(st.binary(max_size=300))
def test_bytes_that_call_themselves_parquet_give_one_line(content: bytes) -> None:
    with pytest.raises(UserError, match="a damaged Parquet file"):
        read(b"PAR1" + content + b"PAR1")


def test_the_number_of_threads_changes_nothing(table: pd.DataFrame) -> None:
    content = table.to_csv(index=False).encode()
    cores = pa.cpu_count()
    try:
        pa.set_cpu_count(1)
        alone, _ = read(content)
    finally:
        pa.set_cpu_count(cores)

    pd.testing.assert_frame_equal(alone, read(content)[0])
