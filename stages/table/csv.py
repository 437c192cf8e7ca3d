"""A CSV file as columns of text: its delimiter found out, every row of the header's width."""

import csv
import gzip
import io
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from service.cells import Reading
from stages.entry import log
from stages.errors import UserError
from stages.params import DataParams
from stages.table.findings import Findings, Source
from stages.table.formats import GZIP, read_text

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}
_USUAL = ",;\t|"
_UNUSUAL = " :^"
"""Taken only where every row has as many of them as the header, and none of the usual ones separates anything."""
_SAMPLE = 1 << 20
_SAMPLE_ROWS = 1000
_BLOCK = 1 << 25
"""Bytes that are parsed at once, and the longest row there may be."""
_MOST_RAGGED = 20
_LONGEST_HEADER = 100
"""Lines; a header that runs over more has a quote that is never closed."""
_NO_HEADER = "line 1 must be the header: remove what is before it, or set data.delimiter"
_HINT = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=(.)"?[ \t,;]*(\r\n|\r|\n)')


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file and how to read it."""

    path: Path
    encoding: str
    delimiter: str
    skipped: int
    """Lines before the header: 1 if the first one is Excel's ``sep=``."""

    def rows(self) -> Iterator[tuple[int, int, list[str]]]:
        """Yield the first and last line (from 1) and the cells of each row that is not empty, the header first."""
        csv.field_size_limit(sys.maxsize)
        with self._open() as text:
            for _ in range(self.skipped):
                text.readline()
            reader = csv.reader(text, delimiter=self.delimiter)
            first = self.skipped + 1
            for cells in reader:
                last = reader.line_num + self.skipped
                if cells:
                    yield first, last, cells
                first = last + 1

    def locate(self, wanted: Iterable[int]) -> dict[int, str]:
        """Return the line in which each row (from 0, after the header) begins."""
        left = set(wanted)
        found: dict[int, str] = {}
        if left:
            rows = self.rows()
            width = len(next(rows)[2])
            whole = (line for line, _, cells in rows if len(cells) == width)
            found = {row: f"line {line}" for row, line in enumerate(whole) if row in left}
        return {row: found.get(row, f"row {row + 1}") for row in left}

    def open_quote(self) -> int | None:
        """Return the line of a quote that is closed lines later amid other text, or never."""
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
        opened = gzip.open if packed else open
        return opened(self.path, "rt", encoding=self.encoding, newline="")


def read_csv(data: DataParams, findings: Findings) -> Source:
    """Read the file as columns of text, one for each name of its header.

    Rows of another width are reported in `findings` and left out. Raises UserError for what is no table.
    """
    path = Path(data.path)
    content, encoding = read_text(path, data.encoding)
    if encoding not in ("utf-8", "utf-8-sig"):
        log(f"{path} is read as {encoding}")
    hint = _HINT.match(content)
    if hint:
        content = content[hint.end() :]
    said = data.delimiter or (hint.group(1).decode() if hint else None)
    file = CsvFile(path, encoding, said or _find_delimiter(content, findings), 1 if hint else 0)
    first, last, names = next(file.rows(), (1, 1, []))
    if not names or last - first > _LONGEST_HEADER:
        raise _open_quote(file, first)
    table = _parse(file, content, names, findings)
    _refuse_open_quote(file, content, table.num_rows)
    if table.num_rows < 2:  # noqa: PLR2004  # the header and a row
        findings.stop(file.locate)
        raise UserError(f"{path}: has a header and no rows; add rows, or a header if line {first} is a row")
    columns = table.slice(1).columns
    _report_repeated_header(names, columns, findings)
    return _without_nameless(file, names, columns)


def _find_delimiter(content: bytes, findings: Findings) -> str:
    """Return the delimiter that gives every row the header's width, else the one that gives it to most rows."""
    csv.field_size_limit(sys.maxsize)
    sample = content[:_SAMPLE].decode("utf-8-sig", errors="ignore")
    if len(content) > _SAMPLE:
        sample = sample[: sample.rfind("\n") + 1] or sample
    scores = {delimiter: _share_of_whole_rows(sample, delimiter) for delimiter in _USUAL + _UNUSUAL}
    if not any(scores[delimiter] for delimiter in _USUAL):
        return next((delimiter for delimiter in _UNUSUAL if scores[delimiter] == 1), ",")
    whole = [delimiter for delimiter in _USUAL if scores[delimiter] == 1]
    if len(whole) > 1:
        spoken = " or ".join(DELIMITERS[delimiter] for delimiter in whole)
        findings.add(f"the delimiter may be {spoken}: both give every row as many fields", "set data.delimiter")
    return max(_USUAL, key=lambda delimiter: scores[delimiter])


def _share_of_whole_rows(sample: str, delimiter: str) -> float:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    header, *widths = list(itertools.islice((len(cells) for cells in reader if cells), _SAMPLE_ROWS)) or [1]
    return 0.0 if header == 1 else sum(width == header for width in widths) / len(widths) if widths else 1.0


def _parse(file: CsvFile, content: bytes, header: Sequence[str], findings: Findings) -> pa.Table:
    names = [str(place) for place in range(len(header))]
    ragged = 0

    def skip(_: pyarrow.csv.InvalidRow) -> str:
        nonlocal ragged
        ragged += 1
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=_BLOCK, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=file.delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowInvalid as error:
        for first, _, cells in file.rows():
            if sum(map(len, cells)) > _BLOCK // 4:
                raise _open_quote(file, first) from None
        raise UserError(f"{file.path}: {error}") from None
    if ragged:
        _report_ragged(file, len(header), findings)
    return table


def _report_ragged(file: CsvFile, width: int, findings: Findings) -> None:
    widths = [(first, cells[0].lstrip(), len(cells)) for first, _, cells in file.rows()][1:]
    ragged = [row for row in widths if row[2] != width]
    sign = DELIMITERS.get(file.delimiter, repr(file.delimiter))
    if len(ragged) == len(widths) > 1 and len({count for *_, count in ragged}) == 1:
        problem = f"every row has {ragged[0][2]:,} fields, the header names {width:,} (delimiter: {sign})"
        remedy = (
            "if rows begin with their name, name it in the header; if they end with a delimiter, so must the header"
        )
        findings.add(problem, _NO_HEADER if width == 1 else remedy)
        return
    for line, start, count in ragged[:_MOST_RAGGED]:
        problem = f"line {line} has {count:,} fields, the header names {width:,} (delimiter: {sign})"
        remedy = "close open quotes, quote cells that hold the delimiter, or set data.delimiter if it is another"
        remedy = "leave cells without a value empty, and " + remedy if count < width else remedy
        remedy = _NO_HEADER if width == 1 else remedy
        findings.add(problem, "comment lines are not supported: remove it" if start.startswith("#") else remedy)
    if len(ragged) > _MOST_RAGGED:
        findings.add(f"{len(ragged):,} rows in all have another number of fields", "correct these first")


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


def _report_repeated_header(header: Sequence[str], columns: Sequence[pa.ChunkedArray], findings: Findings) -> None:
    repeats = pc.equal(columns[0], header[0])
    for name, column in zip(header[1:], columns[1:], strict=True):
        if not pc.any(repeats).as_py():
            return
        repeats = pc.and_(repeats, pc.equal(column, name))
    row = pc.index(repeats, value=True).as_py()
    if row >= 0:
        findings.add("repeats the header", "remove it", row=row)


def _without_nameless(file: CsvFile, names: list[str], columns: list[pa.ChunkedArray]) -> Source:
    """Leave out a nameless first column that counts the rows, and nameless empty columns at the end."""
    width = len(names)
    while width > 1 and not names[width - 1].strip() and _is_empty(columns[width - 1]):
        width -= 1
    if width < len(names):
        log(f"{file.path}: {len(names) - width} last columns without a name and without any value are left out")
    row_names = width > 1 and not names[0].strip() and _counts_rows(columns[0])
    if row_names:
        log(f"{file.path}: the first column has no name and counts the rows; it is left out")
    left = dict(enumerate(columns))
    reading = Reading(delimiter=file.delimiter, encoding=file.encoding, row_names=row_names)
    return Source(names[row_names:width], lambda place: left.pop(place + row_names), file.locate, reading)


def _is_empty(column: pa.ChunkedArray) -> bool:
    return not pc.any(pc.not_equal(pc.utf8_trim_whitespace(column), "")).as_py()


def _counts_rows(column: pa.ChunkedArray) -> bool:
    trimmed = pc.utf8_trim_whitespace(column)
    return any(
        trimmed.equals(pa.chunked_array([pa.array(range(start, start + len(trimmed))).cast(pa.string())]))
        for start in (0, 1)
    )
