"""Reading: any sensible table comes in with the types that its cells have."""

import gzip
import keyword
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.params import Params
from stages.table import reader

Make = Callable[..., Params]
Read = Callable[..., pd.DataFrame]


@pytest.fixture
def read(tmp_path: Path, params: Make) -> Read:
    """Give a function that writes a file and reads it as a table with the target `y`."""

    def write_and_read(content: str | bytes, name: str = "t.csv", **data: Any) -> pd.DataFrame:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return reader.read(params(tmp_path / name, data=data).data)

    return write_and_read


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " ", ":", "^"])
def test_the_delimiter_is_found_out(read: Read, delimiter: str) -> None:
    lines = ["x", "a", "y"], ["1.5", "p", "no"], ["2.5", "q", "yes"]

    frame = read("\n".join(delimiter.join(line) for line in lines))

    assert list(frame) == ["x", "a", "y"]
    assert frame["x"].tolist() == [1.5, 2.5]


def test_a_delimiter_that_nothing_proves_is_said_by_params(read: Read) -> None:
    assert list(read("x~a~y\n1~p~no\n", delimiter="~")) == ["x", "a", "y"]


def test_the_first_line_may_be_excels_hint(read: Read) -> None:
    frame = read("sep=;\r\na;b,c;y\r\n1;2;p\r\n")

    assert list(frame) == ["a", "b,c", "y"]


@pytest.mark.parametrize("start", [0, 1])
def test_a_first_column_without_a_name_that_counts_the_rows_is_left_out(read: Read, start: int) -> None:
    rows = "".join(f'"{start + row}",{row * 2},p\n' for row in range(5))

    assert list(read(f'"",a,y\n{rows}')) == ["a", "y"]


def test_a_column_without_a_name_can_be_ignored_by_its_place(read: Read) -> None:
    assert list(read("a,,y\n1,x,p\n2,z,q\n", ignore=["column 2"])) == ["a", "y"]


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_an_encoding_that_proves_itself_is_found_out(read: Read, encoding: str) -> None:
    frame = read("a,b,y\nZürich 東京,1,p\nx,2,q\n".encode(encoding))

    assert list(frame) == ["a", "b", "y"]
    assert frame.loc[0, "a"] == "Zürich 東京"


@pytest.mark.parametrize(("encoding", "text"), [("cp1252", "São – 5 €"), ("koi8-r", "Москва"), ("utf-16-le", "東京")])
def test_any_other_encoding_is_said_by_params(read: Read, encoding: str, text: str) -> None:
    assert read(f"a,y\n{text},1\nx,2\n".encode(encoding), encoding=encoding).loc[0, "a"] == text


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8-sig", "utf-8"), ("utf-8-sig", "cp1252"), ("utf-16", "UTF16"), ("utf-16", "utf-16-le")],
)
def test_a_byte_order_mark_decides_and_is_no_part_of_a_name(read: Read, encoding: str, said: str) -> None:
    frame = read("a,y\nZürich,1\nx,2\n".encode(encoding), encoding=said)

    assert list(frame) == ["a", "y"]
    assert frame.loc[0, "a"] == "Zürich"


def test_an_encoding_may_be_spelt_as_python_takes_it(read: Read) -> None:
    assert read("a,y\n東京,1\nx,2\n".encode("utf-16-le"), encoding="UTF_16LE").loc[0, "a"] == "東京"


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
    "telephone numbers": (["+47 22 33", "040-123", "(0)5"], ["+47 22 33", "040-123", "(0)5"]),
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


def test_missing_may_be_said_by_column(read: Read) -> None:
    frame = read("country,income,y\nNA,5,p\nBW,?,q\n,NA,p\n", missing={"country": [], "income": ["?", "NA"]})

    assert frame["country"].isna().tolist() == [False, False, True]
    assert frame["income"].isna().tolist() == [False, True, True]


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

    from_csv = reader.read(params(tmp_path / "t.csv.gz").data)

    pd.testing.assert_frame_equal(from_csv, reader.read(params(tmp_path / "t.parquet").data))
