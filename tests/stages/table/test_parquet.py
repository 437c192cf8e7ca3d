"""Parquet columns keep their own types, and what cannot be a feature is reported."""

import datetime as dt
import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Read = Callable[..., pd.DataFrame]
Refuse = Callable[..., str]
DAY = dt.datetime(2020, 1, 31, tzinfo=dt.UTC)
STAMP = pd.Timestamp("2020-01-31")
LAST = dt.datetime(9999, 12, 31, 23, 59)  # noqa: DTZ001  # naive, as columns are
COLUMNS: dict[str, tuple[pa.Array, list[Any]]] = {
    "float16": (pa.array(np.array([0.5, 1.5], np.float16)), [0.5, 1.5]),
    "float32": (pa.array([0.5, 1.5], pa.float32()), [0.5, 1.5]),
    "uint8": (pa.array([1, 2], pa.uint8()), [1, 2]),
    "uint64": (pa.array([1, 2], pa.uint64()), [1, 2]),
    "decimal": (pa.array([decimal.Decimal("1.25"), decimal.Decimal("-2.50")]), [1.25, -2.5]),
    "floats beyond 2^53, which are exact": (pa.array([2.0**53 + 2, 1e17]), [2.0**53 + 2, 1e17]),
    "whole decimal": (pa.array([5, 6], pa.int64()).cast(pa.decimal128(20, 0)), [5, 6]),
    "category": (pa.array(["2", "1"]).dictionary_encode(), ["2", "1"]),
    "category of numbers": (pa.array([2, 1]).dictionary_encode(), [2, 1]),
    "text": (pa.array(["01", "2"]), ["01", "2"]),
    "text view": (pa.array(["01", "2"], pa.string_view()), ["01", "2"]),
    "truth values": (pa.array([True, False]), [True, False]),
    "date32": (pa.array([DAY.date()] * 2, pa.date32()), [STAMP] * 2),
    "date64": (pa.array([DAY.date()] * 2, pa.date64()), [STAMP] * 2),
    "zone": (pa.array([DAY] * 2, pa.timestamp("ms", "Europe/Oslo")), [STAMP] * 2),
    **{unit: (pa.array([DAY.replace(tzinfo=None)] * 2, pa.timestamp(unit)), [STAMP] * 2) for unit in ("s", "us", "ns")},
    "numbers as text": (pa.array(["1.5", "2"]), [1.5, 2.0]),
    "dates as text": (pa.array(["2020-01-31", "2020-01-31"]), [STAMP] * 2),
}
GAPS = [
    pa.array([1, None]),
    pa.array([1.0, np.nan]),
    pa.array([True, None]),
    pa.array(["x", "NA"]),
    pa.array(["x", None]).dictionary_encode(),
    pa.array([DAY, None]),
]
UNFIT = {
    "infinity": (pa.array([1.0, np.inf]), "row 3, column 'a': 'inf' is beyond 3.4e38"),
    "a wide integer": (
        pa.array([-(2**53), 2**53 + 1]),
        "row 3, column 'a': '9007199254740993' is a whole number beyond 2^53",
    ),
    "a wide unsigned one": (pa.array([1, 2**64 - 1], pa.uint64()), "beyond 2^53"),
    "lists": (pa.array([[1], [2]]), "column 'a' holds list<"),
    "bytes": (pa.array([b"1", b"2"]), "column 'a' holds binary"),
    "durations": (pa.array([dt.timedelta(1), None]), "column 'a' holds duration[us]"),
    "times of day": (pa.array([dt.time(8, 30), None]), "column 'a' holds time64[us]; turn it into numbers or text, or"),
    "a date beyond the calendar": (pa.array([0, 10**12], pa.timestamp("s")), "outside the years 1 to 9999"),
}


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., None]:
    """Return a function that writes an Arrow array as column `a` of a Parquet file."""

    def write(column: pa.Array, **options: Any) -> None:
        pq.write_table(pa.table({"a": column, "y": ["p", "q"][: len(column)]}), tmp_path / "t.parquet", **options)

    return write


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_keeps_its_own_type(save: Callable[..., None], read: Read, name: str) -> None:
    column, expected = COLUMNS[name]
    save(column)

    found = read(None, "t.parquet")["a"]

    assert found.tolist() == expected
    assert str(found.dtype) in {"int64", "float64", "bool", "str", "datetime64[us]"}


@pytest.mark.parametrize(
    "options", [{"use_deprecated_int96_timestamps": True}, {"coerce_timestamps": "ms"}, {}], ids=str
)
def test_the_last_day_of_the_calendar_is_read(save: Callable[..., None], read: Read, options: dict[str, Any]) -> None:
    save(pa.array([LAST, None], pa.timestamp("us")), **options)

    assert read(None, "t.parquet")["a"].iloc[0] == pd.Timestamp(LAST)


@pytest.mark.parametrize("column", GAPS, ids=str)
def test_an_absent_value_is_missing(save: Callable[..., None], read: Read, column: pa.Array) -> None:
    save(column)

    assert read(None, "t.parquet")["a"].isna().tolist() == [False, True]


def test_a_column_of_no_type_is_all_missing(save: Callable[..., None], read: Read) -> None:
    save(pa.nulls(2))

    assert read(None, "t.parquet")["a"].isna().all()


@pytest.mark.parametrize(
    ("column", "text"), [(pa.array([1, 2]), ["1", "2"]), (pa.array([dt.time(8), dt.time(9)]), ["08:00", "09:00"])]
)
def test_any_value_that_has_a_text_can_be_a_category(
    save: Callable[..., None], read: Read, column: pa.Array, text: list[str]
) -> None:
    save(column)

    assert read(None, "t.parquet", categorical=["a"])["a"].str[:5].tolist() == text


def test_neither_a_pandas_index_nor_a_folder_named_like_a_partition_adds_a_column(tmp_path: Path, read: Read) -> None:
    (tmp_path / "year=2020").mkdir()
    frame = pd.DataFrame({"a": [1, 2], "y": ["p", "q"]}, index=[5, 9])
    frame.to_parquet(tmp_path / "year=2020/t.parquet")

    assert list(read(None, "year=2020/t.parquet")) == ["a", "y"]


@pytest.mark.parametrize("name", UNFIT)
def test_a_column_that_cannot_be_a_feature_is_reported(save: Callable[..., None], refuse: Refuse, name: str) -> None:
    column, expected = UNFIT[name]
    save(column)

    assert expected in refuse(None, "t.parquet")


def test_a_file_without_rows_and_text_named_parquet_are_refused(save: Callable[..., None], refuse: Refuse) -> None:
    save(pa.array([], pa.int64()))

    assert "has columns and no rows" in refuse(None, "t.parquet")
    assert "no Parquet file" in refuse("a,y\n1,2\n", "t.parquet")


@pytest.mark.parametrize("length", [4, 12, 300, -1])
def test_a_truncated_file_is_refused(save: Callable[..., None], tmp_path: Path, refuse: Refuse, length: int) -> None:
    save(pa.array([1.5, 2.5]))

    assert "a damaged Parquet file" in refuse((tmp_path / "t.parquet").read_bytes()[:length], "t.parquet")
