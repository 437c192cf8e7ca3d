"""Reading: any sensible table comes in with the types that its cells have."""

import datetime as dt
import decimal
import gzip
import keyword
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import _tables
from stages._params import Params

Make = Callable[..., Params]
Read = Callable[..., pd.DataFrame]
ReadArrow = Callable[..., "pd.Series[Any]"]


@pytest.fixture
def read(tmp_path: Path, params: Make) -> Read:
    """Give a function that writes a file and reads it as a table with the target `y`."""

    def write_and_read(content: str | bytes, name: str = "t.csv", **data: Any) -> pd.DataFrame:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return _tables.read(params(tmp_path / name, data=data).data)

    return write_and_read


@pytest.fixture
def read_arrow(tmp_path: Path, params: Make) -> ReadArrow:
    """Give a function that writes an Arrow array as column `a` of a Parquet file and reads it."""

    def write_and_read(column: pa.Array, **data: Any) -> "pd.Series[Any]":
        pq.write_table(pa.table({"a": column, "y": ["p", "q"]}), tmp_path / "t.parquet")
        return _tables.read(params(tmp_path / "t.parquet", data=data).data)["a"]

    return write_and_read


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " ", ":", "^"])
def test_the_delimiter_is_found_out(read: Read, delimiter: str) -> None:
    lines = ["x", "a", "y"], ["1.5", "p", "no"], ["2.5", "q", "yes"]

    frame = read("\n".join(delimiter.join(line) for line in lines))

    assert list(frame) == ["x", "a", "y"]
    assert frame["x"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(read: Read, end: str) -> None:
    assert read(end.join(["a,y", "1,p", "2,q", ""]))["a"].tolist() == [1, 2]


def test_quotes_hold_delimiters_quotes_and_newlines(read: Read) -> None:
    frame = read('"a, b","c\nd",y\r\n"1, ""x""","two\r\nlines",p\r\nz,w,q\r\n')

    assert list(frame) == ["a, b", "c d", "y"]
    assert frame.iloc[0].tolist() == ['1, "x"', "two\r\nlines", "p"]


@pytest.mark.parametrize("cell", ['5" pipe', 'the "best"', '"x"y', '"x" '])
def test_a_quote_within_a_cell_is_no_fault(read: Read, cell: str) -> None:
    assert read(f'a,y\n{cell},p\n"l\nm",q\n')["y"].tolist() == ["p", "q"]


TEXTS = {
    "utf-8": "Zürich 東京",
    "utf-8-sig": "Zürich 東京",
    "latin-1": "Müller à la crème",
    "cp1252": "São Paulo – 5 €",
    "cp1251": "Москва и Киев",
    "koi8-r": "Москва и Киев",
    "cp1253": "Αθήνα και Θεσσαλονίκη",
    "shift-jis": "東京とはい",
    "gb18030": "城市 北京 上海 今天天气",
    "big5": "城市 臺北 高雄 今天天氣",
    "cp949": "서울 부산 안녕하세요",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_the_encoding_is_found_out(read: Read, encoding: str) -> None:
    text = TEXTS[encoding]

    frame = read(f"a,b,y\n{text},1,p\nx,2,q\n".encode(encoding))

    assert list(frame) == ["a", "b", "y"]
    assert frame.loc[0, "a"] == text


def test_text_beyond_ascii_late_in_a_large_file_is_found(read: Read) -> None:
    assert read(b"a,y\n" + b"abc,p\n" * 400_000 + "é,q\n".encode("latin-1"))["a"].iloc[-1] == "é"


def test_a_packed_table_is_unpacked(read: Read) -> None:
    packed = gzip.compress(b"a,y\n1,p\n") + gzip.compress(b"2,q\n")

    assert read(packed, "t.csv.gz")["a"].tolist() == [1, 2]


NAMES = ["a b", "a.b", "1st", "größe", "le", "__name__", "<script>", "価格", "x" * 3000, *keyword.kwlist, "'", '"']


def test_columns_may_have_any_name(read: Read, tmp_path: Path) -> None:
    pd.DataFrame([range(len(NAMES) + 1)] * 2, columns=[*NAMES, "y"]).to_csv(tmp_path / "n.csv", index=False)

    assert list(read((tmp_path / "n.csv").read_bytes())) == [*NAMES, "y"]


KINDS = {
    "whole numbers": (["1", "+2", "-3"], [1, 2, -3]),
    "fractions": (["1.0", ".5", "2e3"], [1.0, 0.5, 2000.0]),
    "blanks around": ([" 1 ", "2\u00a0", "\t3"], [1, 2, 3]),
    "truth values": (["True", "FALSE", "true"], [True, False, True]),
    "postcodes": (["01234", "90210", "10115"], ["01234", "90210", "10115"]),
    "one number with a zero before it": (["05"] + ["123"] * 30, [5] + [123] * 30),
    "percent": (["5%", "7.5%", "10%"], ["5%", "7.5%", "10%"]),
    "telephone numbers": (["+47 22 33", "040-123", "(0)5"], ["+47 22 33", "040-123", "(0)5"]),
    "times": (["12:30", "08:00", "23:59"], ["12:30", "08:00", "23:59"]),
    "hexadecimal": (["0x1f", "1e5a", "beef"], ["0x1f", "1e5a", "beef"]),
    "open classes": (["0", "1", "3+"] * 9, ["0", "1", "3+"] * 9),
    "yes and no": (["yes", "no", "yes"], ["yes", "no", "yes"]),
    "versions": (["1.2.3", "10.0.1", "2.0.0"], ["1.2.3", "10.0.1", "2.0.0"]),
    "a mark among words": (["red", "?", "blue"], ["red", "?", "blue"]),
    "codes with letters": (["250.8", "V57", "E909", "401"] * 9, ["250.8", "V57", "E909", "401"] * 9),
    "one value": (["7", "7", "7"], [7, 7, 7]),
    "text with one number": (["red", "green", "5"], ["red", "green", "5"]),
}


@pytest.mark.parametrize("name", KINDS)
def test_cells_are_read_as_what_all_of_them_are(read: Read, name: str) -> None:
    cells, expected = KINDS[name]

    column = read("a|y\n" + "".join(f"{cell}|{place % 2}\n" for place, cell in enumerate(cells)))["a"]

    assert column.tolist() == expected


def test_dates_are_read_as_moments_in_utc(read: Read) -> None:
    frame = read("a;b;y\n2020-01-31;2020-01-31T10:00:00+02:00;p\n;;q\n")

    assert frame["a"].dtype == frame["b"].dtype == "datetime64[us]"
    assert frame["b"].iloc[0] == pd.Timestamp("2020-01-31 08:00")
    assert frame["a"].isna().tolist() == [False, True]


@pytest.mark.parametrize("token", ["", "NA", "NaN", "nan", "null", "NULL", "None", '" "'])
def test_what_usually_stands_for_no_value_is_missing(read: Read, token: str) -> None:
    frame = read(f"a,b,y\n1,x,p\n{token},{token},{token}\n")

    assert frame.iloc[1].isna().all()


def test_a_named_stand_in_counts_as_missing_in_the_target_too(read: Read) -> None:
    frame = read("a,y\n1,p\n?,?\n", missing=["?"])

    assert frame.isna().to_numpy().tolist() == [[False, False], [True, True]]


def test_an_empty_column_is_all_missing(read: Read) -> None:
    assert read("a,b,y\n1,,p\n2,,q\n")["b"].isna().all()


def test_a_categorical_column_keeps_its_cells_as_text(read: Read) -> None:
    assert read("a,y\n1,p\n2.50,q\n", categorical=["a"])["a"].tolist() == ["1", "2.50"]


@pytest.mark.parametrize(
    "labels", [["1", "2", "N/A"], ["0", "1", "3+"], ["是", "否", "да"], ["2020-01-01", "soon", "5"]]
)
def test_labels_of_any_kind_are_classes(read: Read, labels: list[str]) -> None:
    frame = read("a,y\n" + "".join(f"{place},{label}\n" for place, label in enumerate(labels * 9)))

    assert frame["y"].tolist() == labels * 9


def test_an_ignored_column_may_hold_anything(read: Read) -> None:
    assert list(read("a,b,y\n1e400,1,p\n?,2,q\n", ignore=["a"])) == ["b", "y"]


def test_delimiters_at_the_end_of_every_line_give_no_column(read: Read) -> None:
    assert list(read("a;y;;\n1;p;;\n2;q;;\n")) == ["a", "y"]


def test_decimal_commas_are_read_where_semicolons_separate(read: Read) -> None:
    assert read("a;y\n12,5;p\n7;q\n")["a"].tolist() == [12.5, 7.0]


def test_csv_and_parquet_give_the_same_table(table: pd.DataFrame, tmp_path: Path, params: Make) -> None:
    table.to_csv(tmp_path / "t.csv.gz", index=False)
    table.to_parquet(tmp_path / "t.parquet")

    from_csv = _tables.read(params(tmp_path / "t.csv.gz").data)

    pd.testing.assert_frame_equal(from_csv, _tables.read(params(tmp_path / "t.parquet").data))


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
    "time of day": (pa.array([dt.time(12, 30), dt.time(8)]), ["12:30:00.000000", "08:00:00.000000"]),
    "truth values": (pa.array([True, False]), [True, False]),
    "date32": (pa.array([DAY.date()] * 2, pa.date32()), [pd.Timestamp("2020-01-31")] * 2),
    "date64": (pa.array([DAY.date()] * 2, pa.date64()), [pd.Timestamp("2020-01-31")] * 2),
    "zone": (pa.array([DAY] * 2, pa.timestamp("ms", "Europe/Oslo")), [pd.Timestamp("2020-01-31")] * 2),
    "dates as text": (pa.array(["2020-01-31", "2020-01-31"]), [pd.Timestamp("2020-01-31")] * 2),
}


@pytest.mark.parametrize("name", ARROW)
def test_a_parquet_column_keeps_its_own_type(read_arrow: ReadArrow, name: str) -> None:
    column, expected = ARROW[name]

    found = read_arrow(column)

    assert found.tolist() == expected
    assert str(found.dtype) in {"int64", "float64", "bool", "str", "datetime64[us]"}


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


def test_the_unnamed_index_of_a_pandas_table_is_no_column(tmp_path: Path, params: Make) -> None:
    pd.DataFrame({"a": [1, 2], "y": ["p", "q"]}, index=[5, 9]).to_parquet(tmp_path / "t.parquet")

    assert list(_tables.read(params(tmp_path / "t.parquet").data)) == ["a", "y"]


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path, params: Make) -> None:
    (tmp_path / "year=2020").mkdir()
    pd.DataFrame({"a": [1, 2], "y": ["p", "q"]}).to_parquet(tmp_path / "year=2020/t.parquet")

    assert list(_tables.read(params(tmp_path / "year=2020/t.parquet").data)) == ["a", "y"]
