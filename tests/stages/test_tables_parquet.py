"""Parquet: columns keep their own types, and what cannot be a feature is told."""

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

from stages.table import reader
from tests.stages.refusals import Make, problem

ReadArrow = Callable[..., "pd.Series[Any]"]


@pytest.fixture
def read_arrow(tmp_path: Path, params: Make) -> ReadArrow:
    """Give a function that writes an Arrow array as column `a` of a Parquet file and reads it."""

    def write_and_read(column: pa.Array, **data: Any) -> "pd.Series[Any]":
        pq.write_table(pa.table({"a": column, "y": ["p", "q"]}), tmp_path / "t.parquet")
        return reader.read(params(tmp_path / "t.parquet", data=data).data)["a"]

    return write_and_read


DAY = dt.datetime(2020, 1, 31, tzinfo=dt.UTC)
ARROW: dict[str, tuple[Any, list[Any]]] = {
    "float16": (pa.array(np.array([0.5, 1.5], np.float16)), [0.5, 1.5]),
    "float32": (pa.array([0.5, 1.5], pa.float32()), [0.5, 1.5]),
    "uint8": (pa.array([1, 2], pa.uint8()), [1, 2]),
    "uint64": (pa.array([1, 2], pa.uint64()), [1, 2]),
    "decimal": (pa.array([decimal.Decimal("1.25"), decimal.Decimal("-2.50")]), [1.25, -2.5]),
    "whole decimal": (pa.array([5, 6], pa.int64()).cast(pa.decimal128(20, 0)), [5, 6]),
    "category": (pa.array(["2", "1"]).dictionary_encode(), ["2", "1"]),
    "category of numbers": (pa.array([2, 1]).dictionary_encode(), [2, 1]),
    "text": (pa.array(["01", "2"]), ["01", "2"]),
    "large text": (pa.array(["01", "2"], pa.large_string()), ["01", "2"]),
    "text view": (pa.array(["01", "2"], pa.string_view()), ["01", "2"]),
    "truth values": (pa.array([True, False]), [True, False]),
    "date32": (pa.array([DAY.date()] * 2, pa.date32()), [pd.Timestamp("2020-01-31")] * 2),
    "date64": (pa.array([DAY.date()] * 2, pa.date64()), [pd.Timestamp("2020-01-31")] * 2),
    "zone": (pa.array([DAY] * 2, pa.timestamp("ms", "Europe/Oslo")), [pd.Timestamp("2020-01-31")] * 2),
    "numbers as text": (pa.array(["1.5", "2"]), [1.5, 2.0]),
    "dates as text": (pa.array(["2020-01-31", "2020-01-31"]), [pd.Timestamp("2020-01-31")] * 2),
}


@pytest.mark.parametrize("name", ARROW)
def test_a_parquet_column_keeps_its_own_type(read_arrow: ReadArrow, name: str) -> None:
    column, expected = ARROW[name]

    found = read_arrow(column)

    assert found.tolist() == expected
    assert str(found.dtype) in {"int64", "float64", "bool", "str", "datetime64[us]"}


@pytest.mark.parametrize(
    "options", [{"use_deprecated_int96_timestamps": True}, {"coerce_timestamps": "ms"}, {}], ids=str
)
def test_the_last_day_of_the_calendar_is_read(tmp_path: Path, params: Make, options: dict[str, Any]) -> None:
    last = dt.datetime(9999, 12, 31, 23, 59)  # noqa: DTZ001  # naive, as columns are
    column = pa.array([last, None], pa.timestamp("us"))
    pq.write_table(pa.table({"a": column, "y": ["p", "q"]}), tmp_path / "t.parquet", **options)

    assert reader.read(params(tmp_path / "t.parquet").data)["a"].iloc[0] == pd.Timestamp(last)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_moments_of_every_unit_are_in_microseconds(read_arrow: ReadArrow, unit: str) -> None:
    found = read_arrow(pa.array([DAY.replace(tzinfo=None), None], pa.timestamp(unit)))

    assert found.dtype == "datetime64[us]"
    assert found.iloc[0] == pd.Timestamp("2020-01-31")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None]),
        pa.array([1.0, None]),
        pa.array([1.0, np.nan]),
        pa.array([True, None]),
        pa.array(["x", None]),
        pa.array(["x", None]).dictionary_encode(),
    ],
    ids=str,
)
def test_what_a_parquet_column_lacks_is_missing(read_arrow: ReadArrow, column: pa.Array) -> None:
    assert read_arrow(column).isna().tolist() == [False, True]


def test_a_parquet_column_of_no_type_is_all_missing(read_arrow: ReadArrow) -> None:
    assert read_arrow(pa.nulls(2)).isna().all()


def test_numbers_of_a_parquet_file_can_be_categories(read_arrow: ReadArrow) -> None:
    assert read_arrow(pa.array([1, 2]), categorical=["a"]).tolist() == ["1", "2"]


def test_times_of_day_can_be_categories(read_arrow: ReadArrow) -> None:
    assert read_arrow(pa.array([dt.time(8, 30), dt.time(9)]), categorical=["a"]).str[:5].tolist() == ["08:30", "09:00"]


def test_the_unnamed_index_of_a_pandas_table_is_no_column(tmp_path: Path, params: Make) -> None:
    pd.DataFrame({"a": [1, 2], "y": ["p", "q"]}, index=[5, 9]).to_parquet(tmp_path / "t.parquet")

    assert list(reader.read(params(tmp_path / "t.parquet").data)) == ["a", "y"]


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path, params: Make) -> None:
    (tmp_path / "year=2020").mkdir()
    pd.DataFrame({"a": [1, 2], "y": ["p", "q"]}).to_parquet(tmp_path / "year=2020/t.parquet")

    assert list(reader.read(params(tmp_path / "year=2020/t.parquet").data)) == ["a", "y"]


def test_texts_that_mean_no_value_mean_it_in_parquet_too(read_arrow: ReadArrow) -> None:
    assert read_arrow(pa.array(["NA", "x"])).isna().tolist() == [True, False]


def test_text_named_parquet_is_refused(tmp_path: Path, params: Make) -> None:
    (tmp_path / "t.parquet").write_text("a,y\n1,2\n")

    assert "no Parquet file" in problem(params, tmp_path / "t.parquet")


@pytest.mark.parametrize("length", [4, 12, 300, -1])
def test_a_truncated_parquet_file_is_refused(tmp_path: Path, params: Make, length: int) -> None:
    pd.DataFrame({"a": [1.5] * 50, "y": ["p"] * 50}).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:length])

    assert "a damaged Parquet file" in problem(params, tmp_path / "t.parquet")


PARQUET = {
    "infinity": (pa.array([1.0, np.inf]), "row 3, column 'a': 'inf' is beyond 3.4e38"),
    "a wide integer": (pa.array([1, 2**53 + 1]), "row 3, column 'a': '9007199254740993' is a whole number beyond 2^53"),
    "a wide unsigned one": (pa.array([1, 2**64 - 1], pa.uint64()), "beyond 2^53"),
    "lists": (pa.array([[1], [2]]), "column 'a' holds list<"),
    "bytes": (pa.array([b"1", b"2"]), "column 'a' holds binary"),
    "durations": (pa.array([dt.timedelta(1), None]), "column 'a' holds duration[us]"),
    "times of day": (pa.array([dt.time(8, 30), None]), "column 'a' holds time64[us]; turn it into numbers, or list"),
    "a date beyond the calendar": (pa.array([0, 10**12], pa.timestamp("s")), "beyond the years 1 to 9999"),
}


@pytest.mark.parametrize("name", PARQUET)
def test_a_parquet_column_that_cannot_be_a_feature_is_told(tmp_path: Path, params: Make, name: str) -> None:
    column, expected = PARQUET[name]
    pq.write_table(pa.table({"a": column, "y": ["p", "q"]}), tmp_path / "t.parquet")

    assert expected in problem(params, tmp_path / "t.parquet")


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path, params: Make) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64()), "y": pa.array([], pa.string())}), tmp_path / "t.parquet")

    assert "has columns and no rows" in problem(params, tmp_path / "t.parquet")
