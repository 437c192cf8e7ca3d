"""Broken tables are refused in one line with the file, the place and what to do."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Refuse = Callable[..., str]
PACKED = gzip.compress(b"a,y\n" + b"1,2\n" * 999)
FILES = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\t\n  \n", "is empty"),
    "header alone": (b"a,y", "no rows"),
    "binary data": (b"\x89PNG\r\n\x1a\n\0\0", "holds a NUL byte, as binary data and UTF-16 do"),
    "UTF-16 without a mark": ("a,y\n1,2\n".encode("utf-16-le"), "set data.encoding to utf-16-le or utf-16-be"),
    "an Excel workbook": (b"PK\x03\x04" + b"\0" * 26 + b"xl/workbook.xml", "an Excel workbook"),
    "a web page": (b"\n<!DOCTYPE html><html>", "a web page"),
    "JSON": (b'[{"a": 1}]', "JSON"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "a DVC file": (b"outs:\n- md5: 1\n", "dvc pull"),
    "gzip, cut off": (PACKED[:-12], "damaged gzip"),
    "gzip, damaged within": (PACKED[:20] + b"\xff\xff" + PACKED[22:], "damaged gzip"),
    "gzip in gzip": (gzip.compress(PACKED), "unpack it with: gunzip"),
    "gzip and more": (PACKED + b"more", "Not a gzipped file"),
    "Latin-1": ("a,y\n1,2\nMünchen,3\n".encode("latin-1"), "line 3 is not UTF-8; it may be 'München' in cp1252"),
    "two delimiters": (b"a;b,y\n1;2,3\n4;5,6\n", "the delimiter may be comma or semicolon"),
    "row names without a name": (b"a,y\n1,2,3\n2,3,4\n", "line 2 has 3 fields, the header names 2"),
    "too many fields": (b"a,y\n1,2\n1,2,3\n", "line 3 has 3 fields, the header names 2"),
    "too few fields": (b"a,b,y\n1,2,3\n\n1,2\n", "line 4 has 2 fields, the header names 3"),
    "too many after a cell of two lines": (b'a,y\n"1\n1",2\n1,2,3\n', "line 4 has 3 fields"),
    "a comment": (b"a,y\n1,2\n# more\n1,2\n", "line 3 has 1 fields, the header names 2 (delimiter: comma); "),
    "a title first": (b"Sales 2024\n\na,y\n1,2\n1,2\n", "line 1 must be the header: remove the lines before it"),
    "blanks as delimiter": (b"a y\n1 2\n", "line 1 must be a header; if another delimiter separates the cells, set"),
    "an open quote": (b'a,y\n1,2\n"1,2\n1,2\n', "a quote opened in line 3"),
    "an open quote that a later one closes": (b'a,y\n"x,1\n"y",2\nz,1\n', "a quote opened in line 2"),
    "an open quote in the last column": (b'a,y\n1,2\n1,"2\n1,2\n', "a quote opened in line 3"),
    "an open quote in the header": (b'"a,y\n1,2\n' + b"1,2\n" * 200, "a quote opened in line 1"),
    "the header again, among texts": (b"a,y\nq,w\na,y\ne,r\n", "line 3, column 'a': a row repeats the header"),
    "a name twice": (b"a, a ,y\n1,2,3\n", "'a' occurs twice, in columns 1 and 2"),
    "no name": (b"a,,y\n1,2,3\n", "column 2 has no name"),
    "no last name": (b"a,y,\n1,2,3\n", "column 3 has no name"),
    "no target": (b"a,b\n1,2\n", "data.target: no column 'y'"),
    "another case of the target": (b"a,Y\n1,2\n", "did you mean 'Y'"),
}
CELLS = {
    "12,5": ('"12,5"', "1.5", "'12,5' is not a number with the decimal mark '.'"),
    "N/A": ("N/A", "1.5", "'N/A' is not a number"),
    "? among thin spaces": ("?", "1\u202f234.5", "'?' is not a number"),
    r"\N": (r"\N", "1.5", r"'\N' is not a number"),
    "12 34": ("12 34", "1.5", "'12 34' is not a number"),
    "$5": ("$5", "1.5", "'$5' is not a number"),
    "a word": ("soon", "1.5", "'soon' is not a number"),
    "infinity": ("-Infinity", "1.5", "'-Infinity' is not a number"),
    "1e400": ("1e400", "1.5", "'1e400' is beyond 3.4e38"),
    "1e39": ("1e39", "1.5", "'1e39' is beyond 3.4e38"),
    "2^53 + 1": ("-9007199254740993", "1", "beyond 2^53"),
    "a word among dates": ("soon", "2020-01-05", "'soon' is not a date in the form Ymd, as the other values are"),
    "a date of another form": ("05/31/2020", "2020-01-05", "'05/31/2020' is not a date in the form Ymd"),
    "no such day": ("2021-02-30", "2020-01-05", "'2021-02-30' is not a date in the form Ymd"),
    "the year 0": ("0000-01-01", "2020-01-05", "outside the years 1 to 9999"),
    "the year 10000": ("10000-01-01", "2020-01-05", "'10000-01-01' is not a date"),
    "a zone once": ("2020-01-05T10:00:00Z", "2020-01-05T10:00:00", "has a time zone, unlike"),
    "neither true nor false": ("?", "true", "'?' is not true or false"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_table_is_refused(refuse: Refuse, name: str) -> None:
    content, expected = FILES[name]

    assert expected in refuse(content)


@pytest.mark.parametrize("name", CELLS)
def test_a_stray_cell_is_reported_with_its_line_and_column(refuse: Refuse, name: str) -> None:
    value, others, expected = CELLS[name]
    lines = [f"{others},{place % 2}" for place in range(30)]
    lines[10] = f"{value},1"

    found = refuse("\n".join(["a,y", *lines, ""]))

    assert "line 12, column 'a': " in found
    assert expected in found


def test_lines_within_cells_and_empty_lines_count(refuse: Refuse) -> None:
    assert "line 25, column 'b'" in refuse(b'a,b,y\n"x\ny",1,2\n\n' + b"z,1,2\n" * 20 + b"z,?,2\n")


def test_all_that_is_wrong_is_reported_in_one_run(refuse: Refuse) -> None:
    lines = [f"{place} kg,{place % 24}:05,soon,{place % 2}" for place in range(30)]
    lines[3] += ",9"

    found = refuse("\n".join(["w,at,,y", *lines, ""]), categorical=["colour"]).split("\n")

    assert [line.split("t.csv: ")[1][:30] for line in found] == [
        "line 5 has 5 fields, the heade",
        "column 3 has no name; give it ",
        "params.yaml: data.categorical:",
        "line 2, column 'w': '0 kg' is ",
        "line 2, column 'at': '0:05' is",
    ]


def test_the_target_is_never_to_be_left_out(refuse: Refuse) -> None:
    found = refuse("a,y\n" + "".join(f"{place},${place * 3}\n" for place in range(50)))

    assert "'$0' is a number, time" in found
    assert "data.ignore" not in found


def test_a_missing_file_or_a_folder_is_refused_with_the_key_to_change(refuse: Refuse) -> None:
    assert "not found; params.yaml: data.path" in refuse(None)
    assert "is no file; params.yaml: data.path" in refuse(None, ".")


@pytest.mark.parametrize("key", ["ignore", "categorical", "strict"])
def test_a_column_that_params_name_and_the_table_has_not_is_reported(refuse: Refuse, key: str) -> None:
    found = refuse(b"colour,y\n1,2\n", **{key: ["color"]})

    assert f"data.{key}: no column 'color'" in found
    assert "did you mean 'colour'?" in found


PROGRAM = """
import resource, sys
import pandas, pyarrow.csv, pyarrow.parquet
from stages.entry import run
from stages.params.sections import DataParams
from stages.table import reader

def main():
    used = int(open("/proc/self/statm").read().split()[{field}]) * resource.getpagesize()
    resource.setrlimit(resource.{limit}, (used + (60 << 20),) * 2)
    reader.read_table(DataParams(path={path!r}, target="y"))

sys.argv = ["read"]
run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "field"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_table_larger_than_memory_is_reported_as_such(
    tmp_path: Path, root: Path, name: str, limit: str, field: int
) -> None:
    rows = 20_000_000
    if name == "t.csv":
        (tmp_path / name).write_bytes(b"a,y\n" + b"1.5,1\n" * rows)
    else:
        pq.write_table(pa.table({"a": np.zeros(rows), "y": np.zeros(rows, np.int8)}), tmp_path / name)
    program = PROGRAM.format(path=str(tmp_path / name), limit=limit, field=field)

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 1
    assert f"{name}: needs more memory than there is" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
