"""Broken tables: each is told in one line with the file, the place and what to do."""

import gzip
import io
import pickle
import sqlite3
import zipfile
from pathlib import Path

import pytest

from stages.table import formats
from tests.stages.refusals import Make, problem


def rows(value: str, others: str = "1.5", places: int = 30) -> bytes:
    """Give a table whose column `a` has `value` in line 12, among `others`."""
    lines = [f"{others},{place % 2}" for place in range(places)]
    lines[10] = f"{value},1"
    return ("a,y\n" + "\n".join(lines) + "\n").encode()


def zipped(name: str) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, "a,y\n1,2\n")
        return file.getvalue()


PACKED = gzip.compress(b"a,y\n" + b"1,2\n" * 999)
FILES = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\t\n  \n", "holds only blanks"),
    "header alone": (b"a,y\n", "no rows"),
    "header alone without a newline": (b"a,y", "no rows"),
    "random bytes": (bytes(range(1, 256)) * 40, "binary data"),
    "a PNG image": (b"\x89PNG\r\n\x1a\n\0\0", "an image"),
    "a ZIP archive": (zipped("a.txt"), "a ZIP archive"),
    "a truncated ZIP archive": (zipped("a.txt")[:20], "a ZIP archive"),
    "an Excel workbook": (zipped("xl/workbook.xml"), "an Excel workbook"),
    "a pickle": (pickle.dumps([1, 2]), "a Python pickle"),
    "a PDF": (b"%PDF-1.7\n", "a PDF document"),
    "a web page": (b"\n<!DOCTYPE html><html>", "a web page"),
    "JSON": (b'[{"a": 1}]', "a JSON document"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "a DVC file": (b"outs:\n- md5: 1\n", "dvc pull"),
    "gzip, cut off": (PACKED[:-12], "damaged gzip"),
    "gzip, damaged within": (PACKED[:20] + b"\xff\xff" + PACKED[22:], "damaged gzip"),
    "gzip in gzip": (gzip.compress(PACKED), "packed twice"),
    "gzip and more": (PACKED + b"more", "Not a gzipped file"),
    "UTF-16 without a mark": ("a,y\n1,2\n".encode("utf-16-le"), "set data.encoding to utf-16-le or utf-16-be"),
    "Latin-1": ("a,y\n1,2\nMünchen,3\n".encode("latin-1"), "line 3 is not UTF-8; it may say 'München' in cp1252"),
    "two delimiters": (b"a;b,y\n1;2,3\n4;5,6\n", "the delimiter may be comma or semicolon"),
    "row names without a name": (b"a,y\n1,2,3\n2,3,4\n", "every row has 3 fields, the header names 2"),
    "a NUL byte": (b"a,y\n1,2\n1\x00,2\n", "line 3 holds a NUL byte"),
    "too many fields": (b"a,y\n1,2\n1,2,3\n", "line 3 has 3 fields, the header names 2"),
    "too few fields": (b"a,b,y\n1,2,3\n\n1,2\n", "line 4 has 2 fields, the header names 3"),
    "too many after a cell of two lines": (b'a,y\n"1\n1",2\n1,2,3\n', "line 4 has 3 fields"),
    "a comment": (b"a,y\n1,2\n# more\n1,2\n", "line 3 has 1 fields, the header names 2 (delimiter: comma); comment"),
    "a comment first": (b"# my table\na,y\n1,2\n1,2\n", "line 1 must be the header: remove what is before it"),
    "a title first": (
        b"Sales 2024\n\na,y\n1,2\n1,2\n",
        "every row has 2 fields, the header names 1 (delimiter: comma); line 1",
    ),
    "blanks before quotes": (b'a, "y"\n1, "2"\n', "the name of column 2 has a quote after a blank; remove the blanks"),
    "rows that end with a delimiter": (b"a,y\n1,2,\n1,2,\n", "if they end with a delimiter, so must the header"),
    "an open quote": (b'a,y\n1,2\n"1,2\n1,2\n', "a quote opened in line 3"),
    "an open quote that a later one closes": (b'a,y\n"x,1\n"y",2\nz,1\n', "a quote opened in line 2"),
    "an open quote in the last column": (b'a,y\n1,2\n1,"2\n1,2\n', "a quote opened in line 3"),
    "an open quote in the header": (b'"a,y\n1,2\n' + b"1,2\n" * 200, "a quote opened in line 1"),
    "a name twice": (b"a,a,y\n1,2,3\n", "'a' stands twice, in columns 1 and 2"),
    "a name twice but for blanks": (b"a, a ,y\n1,2,3\n", "'a' stands twice"),
    "no name": (b"a,,y\n1,2,3\n", "column 2 has no name"),
    "no last name": (b"a,y,\n1,2,3\n", "column 3 has no name"),
    "a control character in a name": (b"a\x07,y\n" + b"1,2\n" * 50, "control character"),
    "no target": (b"a,b\n1,2\n", "data.target: no column 'y'"),
    "another case of the target": (b"a,Y\n1,2\n", "did you mean 'Y'"),
    "the header twice": (b"a,y\nx,p\na,y\nz,q\n", "line 3 repeats the header"),
}
CELLS = {
    "12,5": ('"12,5"', "1.5", "'12,5' has other marks than the other numbers"),
    "N/A": ("N/A", "1.5", "'N/A' is not a number"),
    "? among thin spaces": ("?", "1\u202f234.5", "'?' is not a number"),
    "? among apostrophes": ("?", "1’234.5", "'?' is not a number"),
    r"\N": (r"\N", "1.5", r"'\N' is not a number"),
    "?": ("?", "1.5", "'?' is not a number"),
    "12 34": ("12 34", "1.5", "'12 34' is not a number"),
    "$5": ("$5", "1.5", "'$5' is a number or a time with a unit"),
    "a word": ("soon", "1.5", "'soon' is not a number"),
    "infinity": ("inf", "1.5", "'inf' is not a number"),
    "minus infinity": ("-Infinity", "1.5", "'-Infinity' is not a number"),
    "1e400": ("1e400", "1.5", "'1e400' is beyond 3.4e38"),
    "1e39": ("1e39", "1.5", "'1e39' is beyond 3.4e38"),
    "2^53 + 1": ("9007199254740993", "1", "beyond 2^53"),
    "-(2^53 + 1)": ("-9007199254740993", "1", "beyond 2^53"),
    "a date in words": ("soon", "2020-01-05", "'soon' is not a date in the form Ymd, as the other values are"),
    "a date of another form": ("05/31/2020", "2020-01-05", "'05/31/2020' is not a date in the form Ymd"),
    "no such day": ("2021-02-30", "2020-01-05", "'2021-02-30' is not a date in the form Ymd"),
    "a five-digit year": ("10000-01-01", "2020-01-05", "'10000-01-01' is not a date"),
    "the year 0": ("0000-01-01", "2020-01-05", "beyond the years 1 to 9999"),
    "a zone once": ("2020-01-05T10:00:00Z", "2020-01-05T10:00:00", "has a time zone, unlike"),
    "neither true nor false": ("?", "true", "'?' is neither true nor false"),
}


@pytest.mark.parametrize("content", [b"# my table\na,y\n1,2\n1,2\n", b'"a" "y"\n"1" 1 2\n"2" 3 4\n'])
def test_a_table_without_its_header_is_told_in_one_line(tmp_path: Path, params: Make, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)

    assert "line 1 must be" in problem(params, tmp_path / "t.csv")
    assert problem(params, tmp_path / "t.csv").count("\n") <= 1  # what is wrong, and that the target is not there


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_table_is_told_in_one_line(tmp_path: Path, params: Make, name: str) -> None:
    content, expected = FILES[name]
    (tmp_path / "t.csv").write_bytes(content)

    assert expected in problem(params, tmp_path / "t.csv")


@pytest.mark.parametrize("name", CELLS)
def test_a_stray_cell_is_told_with_its_line_and_column(tmp_path: Path, params: Make, name: str) -> None:
    value, others, expected = CELLS[name]
    (tmp_path / "t.csv").write_bytes(rows(value, others))

    told = problem(params, tmp_path / "t.csv")

    assert "line 12, column 'a': " in told
    assert expected in told


def test_the_line_told_counts_lines_within_cells_and_empty_ones(tmp_path: Path, params: Make) -> None:
    (tmp_path / "t.csv").write_bytes(b'a,b,y\n"x\ny",1,2\n\n' + b"z,1,2\n" * 20 + b"z,?,2\n")

    assert "line 25, column 'b'" in problem(params, tmp_path / "t.csv")


def test_all_that_is_wrong_is_told_in_one_run(tmp_path: Path, params: Make) -> None:
    lines = [f"{place} kg,{place % 24}:05,soon,{place % 2}" for place in range(30)]
    lines[3] += ",9"
    (tmp_path / "t.csv").write_text("\n".join(["w,at,,y", *lines]) + "\n")

    told = problem(params, tmp_path / "t.csv", categorical=["colour"]).split("\n")

    assert [line.split("t.csv: ")[1].split("; ")[0][:30] for line in told] == [
        "line 5 has 5 fields, the heade",
        "column 3 has no name",
        "params.yaml: data.categorical:",
        "line 2, column 'w': '0 kg' is ",
        "line 2, column 'at': '0:05' is",
    ]


def test_the_target_is_never_to_be_left_out(tmp_path: Path, params: Make) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{place},${place * 3}\n" for place in range(50)))

    told = problem(params, tmp_path / "t.csv")

    assert "'$0' is a number" in told
    assert "data.ignore" not in told


def test_a_missing_file_is_told_with_the_key_to_change(tmp_path: Path, params: Make) -> None:
    assert "not found; params.yaml: data.path" in problem(params, tmp_path / "none.csv")


def test_a_folder_is_refused(tmp_path: Path, params: Make) -> None:
    assert "is a folder" in problem(params, tmp_path)


def test_a_database_is_refused(tmp_path: Path, params: Make) -> None:
    with sqlite3.connect(tmp_path / "t.csv") as connection:
        connection.execute("CREATE TABLE t (a, y)")
    connection.close()

    assert "an SQLite database" in problem(params, tmp_path / "t.csv")


@pytest.mark.parametrize("key", ["ignore", "categorical", "strict"])
def test_a_column_that_params_name_and_the_table_has_not_is_told(tmp_path: Path, params: Make, key: str) -> None:
    (tmp_path / "t.csv").write_bytes(b"colour,y\n1,2\n")

    told = problem(params, tmp_path / "t.csv", **{key: ["color"]})

    assert f"data.{key}: no column 'color'" in told
    assert "did you mean 'colour'?" in told


def test_a_small_file_cannot_fill_the_memory(tmp_path: Path, params: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_limit", lambda: 10_000_000)
    (tmp_path / "t.csv").write_bytes(gzip.compress(b"a" * 50_000_000))

    assert "too much for this machine's memory" in problem(params, tmp_path / "t.csv")
