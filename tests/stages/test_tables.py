"""Reading: any sensible table comes in typed, anything else is told in one line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages import _tables
from stages._errors import UserError
from stages._params import Params

Make = Callable[..., Params]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(table: pd.DataFrame, tmp_path: Path, params: Make, delimiter: str) -> None:
    table.to_csv(tmp_path / "t.csv", index=False, sep=delimiter)
    assert list(_tables.read(params(tmp_path / "t.csv").data)) == list(table)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_reads_the_same_with_and_without_a_byte_order_mark(
    table: pd.DataFrame, tmp_path: Path, params: Make, encoding: str
) -> None:
    table.to_csv(tmp_path / "t.csv", index=False, encoding=encoding)
    read = _tables.read(params(tmp_path / "t.csv").data)
    assert read["y"].tolist() == table["y"].tolist()


def test_csv_and_parquet_give_the_same_numbers(table: pd.DataFrame, tmp_path: Path, params: Make) -> None:
    table.to_csv(tmp_path / "t.csv.gz", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    from_csv = _tables.read(params(tmp_path / "t.csv.gz").data)
    from_parquet = _tables.read(params(tmp_path / "t.parquet").data)
    pd.testing.assert_frame_equal(from_csv, from_parquet, check_dtype=False)


BROKEN = {
    "empty": (b"", "is empty"),
    "header_only": (b"a,y\n", "no rows"),
    "utf16": ("a,y\n1,2\n".encode("utf-16"), "UTF-16"),
    "nul": (b"a,y\n1\x00,2\n", "NUL"),
    "ragged": (b"a,y\n1,2\n1,2,3\n", "Expected 2 columns, got 3"),
    "duplicate": (b"a,a,y\n1,2,3\n", "stands twice"),
    "nameless": (b"a,,y\n1,2,3\n", "no name"),
    "no_target": (b"a,b\n1,2\n", "no column 'y'"),
    "truncated_gzip": (gzip.compress(b"a,y\n" + b"1,2\n" * 999)[:-12], "damaged gzip"),
    "stray": (b"a,y\n" + b"1,2\n" * 30 + b"N/A,2\n", "row 32, column 'a': expected a number, got 'N/A'"),
    "comma": (b"a,y\n" + b"1,2\n" * 30 + b'"12,5",2\n', "got '12,5'"),
    "infinite": (b"a,y\n1,2\n1e400,2\n", "too large"),
    "whole": (b"a,y\n1,2\n9007199254740995,2\n", "2^53"),
    "date": (b"a,y\n" + b"2020-01-01,2\n" * 30 + b"soon,2\n", "expected a date, got 'soon'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_told_in_one_line(tmp_path: Path, params: Make, name: str) -> None:
    content, expected = BROKEN[name]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        _tables.read(params(tmp_path / "t.csv").data)
    assert expected in str(caught.value)


def test_a_missing_file_is_told_with_the_key_to_change(tmp_path: Path, params: Make) -> None:
    with pytest.raises(UserError, match=r"not found; params\.yaml: data\.path"):
        _tables.read(params(tmp_path / "none.csv").data)


def test_a_folder_is_refused(tmp_path: Path, params: Make) -> None:
    with pytest.raises(UserError, match="is a folder"):
        _tables.read(params(tmp_path).data)


def test_text_named_parquet_is_refused(tmp_path: Path, params: Make) -> None:
    (tmp_path / "t.parquet").write_text("a,y\n1,2\n")
    with pytest.raises(UserError, match="no Parquet file"):
        _tables.read(params(tmp_path / "t.parquet").data)


def test_a_named_stand_in_counts_as_missing(tmp_path: Path, params: Make) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,2\n?,2\n")
    read = _tables.read(params(tmp_path / "t.csv", data={"missing": ["?"]}).data)
    assert read["a"].isna().tolist() == [False, True]
