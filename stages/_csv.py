"""A CSV file as columns of text: its delimiter found out, every row of the header's width."""

import csv
import gzip
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stages._encoding import as_utf8, find_encoding
from stages._entry import log
from stages._errors import UserError
from stages._formats import GZIP, content_of

_SAMPLE = 1 << 20
_SAMPLE_ROWS = 100
_BLOCK = 1 << 25
"""Bytes that are parsed at once, and the longest row there may be."""
_USUAL = ",;\t|"
_UNUSUAL = " :^"
"""Taken only where every row has as many of them as the header, and none of the usual ones separates anything."""
_SPOKEN = {"\t": "tab", " ": "space", ",": "comma", ";": "semicolon", "|": "bar"}


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file, and how to read it."""

    path: Path
    encoding: str
    delimiter: str

    def rows(self) -> Iterator[tuple[int, int, list[str]]]:
        """Give the first and last line (from 1) and the cells of each row that is not empty, the header first."""
        csv.field_size_limit(sys.maxsize)
        with self._open() as text:
            reader = csv.reader(text, delimiter=self.delimiter)
            first = 1
            for cells in reader:
                if cells:
                    yield first, reader.line_num, cells
                first = reader.line_num + 1

    def where(self, row: int) -> str:
        """Tell in which line row `row` (from 0, after the header) begins."""
        for place, (line, _, _) in enumerate(self.rows(), start=-1):
            if place == row:
                return f"line {line}"
        return f"row {row + 1}"

    def open_quote(self) -> int | None:
        """Find the line where a quote opens that closes lines later amid other text, or never."""
        with self._open() as text:
            reader = csv.reader(text, delimiter=self.delimiter, strict=True)
            first = 1
            while True:
                try:
                    if next(reader, None) is None:
                        return None
                except csv.Error as error:
                    if reader.line_num > first or "end of data" in str(error):
                        return first
                first = reader.line_num + 1

    def _open(self) -> TextIO:
        with self.path.open("rb") as file:
            packed = file.read(2) == GZIP
        if packed:
            return gzip.open(self.path, "rt", encoding=self.encoding, newline="")
        return self.path.open("r", encoding=self.encoding, newline="")


def read_csv(path: Path) -> tuple[CsvFile, list[str], list[pa.ChunkedArray]]:
    """Read the file, the names in its header, and its cells as they stand: string columns, one for each name.

    Raises UserError for whatever is no table of one width.
    """
    content = content_of(path)
    encoding = find_encoding(path, content)
    if not encoding.startswith("utf-8"):
        log(f"{path} is read as {encoding}, since it is not UTF-8")
    content = as_utf8(content, encoding)
    file = CsvFile(path, encoding, _delimiter(content))
    names = _header(file)
    table = _parsed(file, content, len(names))
    _refuse_open_quote(file, content, table.num_rows)
    if table.num_rows == 1:
        raise UserError(f"{path}: has a header and no rows; add rows, or a header if line 1 is a row")
    return (file, *_without_nameless_end(path, names, table.slice(1).columns))


def _sample_rows(sample: str, delimiter: str) -> list[list[str]]:
    rows = []
    for cells in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
        if cells:
            rows.append(cells)
        if len(rows) > _SAMPLE_ROWS:
            break
    return rows


def _delimiter(content: bytes) -> str:
    """Find the delimiter that gives the most rows of the header's width, then the widest."""
    csv.field_size_limit(sys.maxsize)
    sample = content[:_SAMPLE].decode("utf-8-sig", errors="ignore")
    scores = {delimiter: _score(_sample_rows(sample, delimiter)) for delimiter in _USUAL}
    best = max(scores, key=lambda delimiter: scores[delimiter])
    if scores[best] > (0.0, 0):
        return best
    unusual = {delimiter: _score(_sample_rows(sample, delimiter)) for delimiter in _UNUSUAL}
    best = max(unusual, key=lambda delimiter: unusual[delimiter])
    return best if unusual[best] >= (1.0, 0) else ","


def _score(rows: list[list[str]]) -> tuple[float, int]:
    width = len(rows[0])
    fitting = sum(len(row) == width for row in rows) - 1
    if width == 1 or len(rows) == 1:
        return 0.0, width - 1
    return round(fitting / (len(rows) - 1), 1), width


def _header(file: CsvFile) -> list[str]:
    first, last, cells = next(file.rows())
    if last - first > _SAMPLE_ROWS:
        raise _open_quote(file, first)
    return cells


def _parsed(file: CsvFile, content: bytes, width: int) -> pa.Table:
    names = [str(place) for place in range(width)]
    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=_BLOCK, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowInvalid as error:
        raise _explained(file, width) or UserError(f"{file.path}: {error}") from None


def _explained(file: CsvFile, width: int) -> UserError | None:
    """Find the row that is not of the header's width, or too long."""
    for first, last, cells in file.rows():
        if sum(map(len, cells)) > _BLOCK // 4:
            return _open_quote(file, first)
        if len(cells) != width:
            return _ragged(file, first, last, cells, width)
    return None


def _ragged(file: CsvFile, first: int, last: int, cells: list[str], width: int) -> UserError:
    sign = _SPOKEN.get(file.delimiter, repr(file.delimiter))
    came = f"{file.path}: line {first} has {len(cells):,} fields, the header names {width:,} (delimiter: {sign})"
    if first < last:
        return UserError(f"{came}; the row runs over lines {first} to {last}: close its quotes")
    if cells[0].lstrip().startswith("#"):
        return UserError(f"{came}; comment lines are not supported: remove it")
    if width == 1:
        return UserError(f"{came}; line 1 must be the header: remove what stands before it")
    if len(cells) > width:
        return UserError(f'{came}; remove what is too much, or put a cell that holds the delimiter in "quotes"')
    return UserError(f"{came}; add what is missing, leaving cells without a value empty")


def _open_quote(file: CsvFile, line: int) -> UserError:
    return UserError(f"{file.path}: a quote opened in line {line} is not closed where it should be; close or remove it")


def _refuse_open_quote(file: CsvFile, content: bytes, rows: int) -> None:
    """Refuse a cell that swallowed the lines up to the next row's quote: a parser takes it for one of several lines.

    A file with as many lines as rows has no such cell.
    """
    lines = content.count(b"\n") or content.count(b"\r")
    if b'"' in content and lines - rows not in {0, -1}:
        line = file.open_quote()
        if line is not None:
            raise _open_quote(file, line)


def _without_nameless_end(path: Path, names: list[str], columns: list[Any]) -> tuple[list[str], list[pa.ChunkedArray]]:
    """Leave out last columns without a name and without a value: what delimiters at the end of each line give."""
    width = len(names)
    while width > 1 and not names[width - 1].strip() and _is_empty(columns[width - 1]):
        width -= 1
    if width < len(names):
        log(f"{path}: {len(names) - width} last columns without a name and without any value are left out")
    return names[:width], columns[:width]


def _is_empty(column: pa.ChunkedArray) -> bool:
    return not pc.any(pc.not_equal(pc.utf8_trim_whitespace(column), "")).as_py()
