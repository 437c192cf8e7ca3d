"""CSV files of any dialect come in whole."""

import gzip
import keyword
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

Read = Callable[..., pd.DataFrame]
NAMES = ["a b", "a.b", "1st", "größe", "le", "__name__", "<script>", "価格", "x" * 3000, *keyword.kwlist, "'", '"']


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(read: Read, delimiter: str) -> None:
    lines = ["x", "a", "y"], ["1.5", "p", "no"], ["2.5", "q", "yes"]

    frame = read("\n".join(delimiter.join(line) for line in lines))

    assert list(frame) == ["x", "a", "y"]
    assert frame["x"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("name", ["<b>", "<bid>", "<!>"])
def test_a_first_column_may_be_named_like_a_tag(read: Read, name: str) -> None:
    assert list(read(f"{name},y\n1.5,no\n2.5,yes\n")) == [name, "y"]


@pytest.mark.parametrize("delimiter", ["~", " "])
def test_another_delimiter_can_be_set(read: Read, delimiter: str) -> None:
    assert list(read("x~a~y\n1~p~no\n".replace("~", delimiter), delimiter=delimiter)) == ["x", "a", "y"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("sep=;\r\na;b,c;y\r\n1;2;p\r\n", ["a", "b,c", "y"]),  # Excel's hint
        ('"",a,y\n0,2,p\n1,4,q\n', ["a", "y"]),  # row names
        ('"",a,y\n"1",2,p\n"2",4,q\n', ["a", "y"]),
        ("a;y;;\n1;p;;\n2;q;;\n", ["a", "y"]),  # delimiters at the end of each line
        ('"a, b","c\nd",y\n1,2,p\n', ["a, b", "c d", "y"]),
    ],
)
def test_columns_with_unusual_names_are_read(read: Read, content: str, names: list[str]) -> None:
    assert list(read(content)) == names


def test_a_column_without_a_name_can_be_ignored_by_its_place(read: Read) -> None:
    assert list(read("a,,y\n1,x,p\n2,z,q\n", ignore=["column 2"])) == ["a", "y"]


def test_an_ignored_column_may_hold_anything(read: Read) -> None:
    assert list(read("a,b,y\n1e400,1,p\n?,2,q\n", ignore=["a"])) == ["b", "y"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(read: Read, end: str) -> None:
    assert read(end.join(["a,y", "1,p", "2,q", ""]))["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"1, ""x"""', '1, "x"'),
        ('"two\r\nlines"', "two\r\nlines"),
        ('5" pipe', '5" pipe'),
        ('"x"y', "xy"),
        ('"x" ', "x"),
    ],
)
def test_quotes_may_be_around_and_within_cells(read: Read, cell: str, text: str) -> None:
    frame = read(f"a,y\n{cell},p\nz,q\n")

    assert frame["a"].tolist() == [text, "z"]
    assert frame["y"].tolist() == ["p", "q"]


@pytest.mark.parametrize(
    ("encoding", "setting", "text"),
    [
        ("utf-8", None, "Zürich 東京"),
        ("utf-8-sig", None, "Zürich 東京"),
        ("utf-8-sig", "cp1252", "Zürich 東京"),  # the byte order mark decides
        ("utf-16", None, "Zürich 東京"),
        ("utf-16", "utf-16-le", "Zürich 東京"),
        ("utf-32", None, "Zürich 東京"),
        ("utf-16-le", "UTF_16LE", "東京"),
        ("cp1252", "cp1252", "São – 5 €"),
        ("koi8-r", "koi8-r", "Москва"),
    ],
)
def test_an_encoding_is_certain_or_set(read: Read, encoding: str, setting: str | None, text: str) -> None:
    frame = read(f"a,b,y\n{text},1,p\nx,2,q\n".encode(encoding), encoding=setting)

    assert list(frame) == ["a", "b", "y"]
    assert frame.loc[0, "a"] == text


def test_a_packed_table_is_unpacked(read: Read) -> None:
    packed = gzip.compress(b"a,y\n1,p\n") + gzip.compress(b"2,q\n")

    assert read(packed, "t.csv.gz")["a"].tolist() == [1, 2]


def test_a_row_may_be_longer_than_the_blocks_that_are_read(read: Read) -> None:
    long = "p" * 9_000_000

    frame = read(f"x,a,y\n1.5,{long},no\n2.5,q,yes\n", categorical=["a"])

    assert frame["a"].tolist() == [long, "q"]


def test_columns_may_have_any_name(read: Read, tmp_path: Path) -> None:
    pd.DataFrame([range(len(NAMES) + 1)] * 2, columns=[*NAMES, "y"]).to_csv(tmp_path / "t.csv", index=False)

    assert list(read(None)) == [*NAMES, "y"]


@pytest.mark.parametrize("token", ["", "NA", "NaN", "nan", "null", "NULL", "None", '" "'])
def test_what_usually_means_no_value_is_missing(read: Read, token: str) -> None:
    assert read(f"a,b,y\n1,x,p\n{token},{token},{token}\n").iloc[1].isna().all()


def test_missing_can_be_set_for_all_columns_and_by_column(read: Read) -> None:
    rows = "country,income,y\nNA,5,p\nBW,?,?\n,NA,p\n"

    frame = read(rows, missing={"country": [], "*": ["?", "NA"]})

    assert frame["country"].isna().tolist() == [False, False, True]
    assert frame["income"].isna().tolist() == [False, True, True]
    assert frame["y"].isna().tolist() == [False, True, False]


def test_csv_and_parquet_give_the_same_table(table: pd.DataFrame, tmp_path: Path, read: Read) -> None:
    table.to_csv(tmp_path / "t.csv.gz", index=False)
    table.to_parquet(tmp_path / "t.parquet")

    pd.testing.assert_frame_equal(read(None, "t.csv.gz"), read(None, "t.parquet"))
