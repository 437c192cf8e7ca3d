"""Read a CSV file as columns of text: find its delimiter, and check that all rows have the header's width."""

import csv
import io
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv

from service.cells import Reading
from stages.entry import log
from stages.errors import UserError
from stages.params.sections import DataParams
from stages.table.findings import Findings, Source
from stages.table.formats import Text, open_text
from stages.table.text_columns import TextColumns

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE = 1 << 20
_SAMPLE_ROWS = 1000
_BLOCK = 1 << 22
"""The bytes of a block for parsing; Arrow reads up to 32 blocks ahead."""
_LONGEST = 1 << 25
"""The bytes of the longest row."""
_MOST_RAGGED = 20
_LONGEST_HINT = 1000
_HINT = re.compile(rb'"?sep=(.)"?[ \t,;]*(\r\n|\r|\n)')


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file and how to read it."""

    path: Path
    open: Callable[[], BinaryIO]
    """Opens its text at the header."""
    delimiter: str
    first_line: int
    """The header's line: 2 if the first line is Excel's ``sep=``."""
    block: int = _BLOCK
    """The bytes that are parsed at a time; a row must fit."""

    def rows(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Yield the first line (from 1) and the cells of each row that is not empty, the header first.

        If `strict`, raises UserError for a quote that is not closed before a delimiter or the end of a line.
        """
        csv.field_size_limit(sys.maxsize)
        first = self.first_line
        with io.TextIOWrapper(self.open(), encoding="utf-8", newline="", errors="ignore") as lines:
            reader = csv.reader(lines, delimiter=self.delimiter, strict=strict)
            try:
                for cells in reader:
                    if cells:
                        yield first, cells
                    first = self.first_line + reader.line_num
            except csv.Error:
                problem = f"a quote opened in line {first} is not closed where it should be; close or remove it"
                raise UserError(f"{self.path}: {problem}") from None

    def locate(self, wanted: Iterable[int]) -> dict[int, str]:
        """Return the line in which each row (from 0, after the header) starts."""
        left = set(wanted)
        rows = self.rows() if left else iter([(0, [])])
        width = len(next(rows)[1])
        whole = (line for line, cells in rows if len(cells) == width)
        return {row: f"line {line}" for row, line in enumerate(whole) if row in left}

    def share_of_whole_rows(self) -> float:
        """Return the share of the first rows that have the header's width; 0 if that is 1."""
        header, *widths = islice((len(cells) for _, cells in self.rows()), _SAMPLE_ROWS)
        return 0.0 if header == 1 else sum(width == header for width in widths) / len(widths) if widths else 1.0


def read_csv(data: DataParams, findings: Findings, scratch: Path) -> Source:
    """Read the file as columns of text, one for each name of its header, which the folder `scratch` holds.

    Rows of another width are reported in `findings` and left out. Raises UserError for a file without a table.
    """
    path = Path(data.path)
    text = open_text(path, data.encoding, scratch)
    hint = _HINT.match(text.head(_LONGEST_HINT))
    if hint:
        newlines, returns = (hint.group(2).count(each) for each in (b"\n", b"\r"))
        text = replace(
            text, start=text.start + hint.end(), newlines=text.newlines - newlines, returns=text.returns - returns
        )
    delimiter = data.delimiter or (hint.group(1).decode() if hint else _find_delimiter(text, findings))
    file = CsvFile(path, text.open, delimiter, 2 if hint else 1)
    names = next(file.rows())[1]
    columns = _parse(file, text, len(names), scratch / "columns", findings)
    if columns.rows == 0:
        findings.stop(file.locate)
        raise UserError(f"{path}: has a header and no rows; add rows, or a header if line 1 is a row")
    repeated = columns.find(names)  # as in concatenated files; as text, it would be accepted
    if repeated is not None:
        findings.add("a row repeats the header", "remove that row", names[0], repeated)
    width = len(names)
    while width > 1 and not names[width - 1].strip() and columns.is_blank(width - 1):
        width -= 1
    row_names = width > 1 and not names[0].strip() and columns.counts_rows()
    if row_names or width < len(names):
        log(f"{path}: columns without a name are left out, as they count the rows or are empty")
    reading = Reading(delimiter=delimiter, encoding=text.encoding, row_names=row_names)
    return Source(
        names[row_names:width], lambda place: columns.read(place + row_names), columns.rows, file.locate, reading
    )


def _find_delimiter(text: Text, findings: Findings) -> str:
    """Return the delimiter with which most rows have the header's width; report it if two fit all rows."""
    sample = text.head(_SAMPLE + 1)
    sample = sample if len(sample) <= _SAMPLE else sample[: sample.rfind(b"\n", 0, _SAMPLE) + 1] or sample
    shares = {each: CsvFile(Path(), lambda: io.BytesIO(sample), each, 1).share_of_whole_rows() for each in _DELIMITERS}
    whole = [_DELIMITERS[delimiter] for delimiter, share in shares.items() if share == 1]
    if len(whole) > 1:
        problem = f"the delimiter may be {' or '.join(whole)}: with both, every row has the header's number of fields"
        findings.add(problem, "set data.delimiter")
    return max(shares, key=lambda delimiter: shares[delimiter])


def _parse(file: CsvFile, text: Text, width: int, path: Path, findings: Findings) -> TextColumns:
    """Write the rows after the header to `path`; report and leave out those with another number of fields."""
    names = [str(place) for place in range(width)]
    ragged: list[str] = []

    def skip(_: pyarrow.csv.InvalidRow) -> str:
        ragged.append("skip")
        return "skip"

    options = pyarrow.csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True, invalid_row_handler=skip)
    try:
        with pa.OSFile(str(text.path)) as content:  # not Python's file, whose blocks would break up the heap
            content.seek(text.start)
            batches = pyarrow.csv.open_csv(
                content,
                pyarrow.csv.ReadOptions(column_names=names, block_size=file.block, use_threads=False),
                options,
                pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
            )
            columns = TextColumns.write(batches, path)
    except pa.ArrowInvalid as error:
        deque(file.rows(strict=True), maxlen=0)
        if file.block < _LONGEST:  # a row may be longer than a block
            return _parse(replace(file, block=_LONGEST), text, width, path, findings)
        raise UserError(f"{file.path}: {error}") from None
    lines = text.newlines or text.returns
    if text.quotes and lines - columns.rows not in {0, 1}:  # a cell has line breaks: check its quotes
        deque(file.rows(strict=True), maxlen=0)
    if ragged:
        _report_ragged(file, width, findings)
    return columns


def _report_ragged(file: CsvFile, width: int, findings: Findings) -> None:
    ragged = [(line, len(cells)) for line, cells in file.rows() if len(cells) != width]
    header = f"the header names {width:,} (delimiter: {_DELIMITERS.get(file.delimiter, repr(file.delimiter))})"
    remedy = "leave cells without a value empty, quote cells that hold the delimiter, remove comments, name each column"
    remedy = "line 1 must be the header: remove the lines before it" if width == 1 else remedy
    for line, count in ragged[:_MOST_RAGGED]:
        findings.add(f"line {line} has {count:,} fields, {header}", f"{remedy}, or set data.delimiter")
    if len(ragged) > _MOST_RAGGED:
        findings.add(f"{len(ragged):,} rows in all have another number of fields", "correct these first")
