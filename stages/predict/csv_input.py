"""Read CSV in blocks of whole lines, as columns of text; the memory doesn't grow with the file."""

import codecs
import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, Final, Protocol

import pyarrow as pa
import pyarrow.csv

from service.cells import Reading
from service.contract import Contract
from service.inputs.columns import find_end, find_header
from stages.errors import UserError

BLOCK: Final = 1 << 22
_LONGEST: Final = 1 << 25
"""The most bytes of a row."""
GZIP: Final = b"\x1f\x8b"
_WIDE: Final = ("utf-16", "utf-32")


class Bytes(Protocol):
    """A file to read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to read the rows of a CSV file, and where they begin."""

    names: tuple[str, ...]
    """The columns' names, without those that have none."""
    first: int
    """The place of the first of them."""
    width: int
    """The number of cells of a row."""
    delimiter: str
    reading: Reading
    encoding: str | None
    """None if the file is in UTF-8 so far."""
    start: int
    """The offset of the first row after the header, in bytes of the unpacked file in UTF-8 or its own encoding."""
    line: int
    """The line of that row, from 1."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """A row with another number of cells than the header."""

    line: int
    cells: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a CSV file."""

    columns: dict[str, pa.Array]
    rows: int
    ragged: list[Ragged]
    text: bytes
    line: int
    """The line of the first row."""
    delimiter: str
    width: int

    def lines(self) -> list[int]:
        """Return the line of each row."""
        return [line for line, cells in _rows(self.text, self.delimiter, self.line) if len(cells) == self.width]


def read_dialect(file: Bytes, name: str, contract: Contract) -> Dialect:
    """Read the header. Raises UserError if there is none."""
    head = b""
    while not (end := find_end(head.lstrip(b"\r\n"))) and (piece := file.read(BLOCK)):
        head += piece
        if len(head) > _LONGEST:
            raise UserError(f"{name}: line 1 has more than {_LONGEST:,} bytes; is it CSV?")
    encoding = find_encoding(head[: head.rfind(b"\n") + 1] if end else head, name, contract.reading.encoding)
    text = head.decode(encoding or "utf-8", errors="ignore")
    try:
        header = find_header(contract, text.removeprefix("\ufeff"))
    except csv.Error as error:
        wanted = contract.reading.delimiter
        raise UserError(f"{name}: is not CSV with {wanted!r} between the cells: line 1: {error}") from None
    if header is None:
        raise UserError(f"{name}: is empty; it needs a header and rows")
    other = next((each for each in ",;\t|" if [each in name for name in header.names] == [True]), None)
    if other and other != header.delimiter and header.names[0] not in {each.name for each in contract.features}:
        raise UserError(f"{name}: the cells must be separated by {header.delimiter!r}, but the header has {other!r}")
    reading = header.reading(contract)
    names, first = header.columns(reading)
    skipped = text[: header.skipped + text.startswith("\ufeff")]
    lines = csv.reader(io.StringIO(text[len(skipped) :], newline=""), delimiter=header.delimiter, strict=True)
    next(row for row in lines if row)
    before = "".join(islice(io.StringIO(text[len(skipped) :], newline=""), lines.line_num))
    start = len((skipped + before).encode(encoding or "utf-8"))
    line = 1 + lines.line_num + skipped.count("\n")
    return Dialect(tuple(names), first, len(header.names), header.delimiter, reading, encoding, start, line)


def find_encoding(content: bytes, name: str, own: str) -> str | None:
    """Return the encoding of the first text that isn't ASCII: UTF-8, or else that of the training table."""
    if content.isascii():
        return None
    try:
        content.decode()
    except UnicodeDecodeError as error:
        if own.startswith("utf"):
            line = content.count(b"\n", 0, error.start) + 1
            raise UserError(f"{name}: line {line} is not UTF-8; save it as UTF-8") from None
        return own
    return "utf-8"


class _Unpacked(gzip.GzipFile):
    """Reads a file in gzip. Raises UserError if it is damaged."""

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{self.name}: is a damaged gzip file ({error}); write it again") from None


def opened(file: IO[bytes] | gzip.GzipFile, name: str, reading: Reading) -> Bytes:
    """Return the file's text: unpacked if it is gzip, in UTF-8 if it is UTF-16 or UTF-32 like the training table."""
    head = file.read(4)
    file.seek(0)
    if head.startswith(GZIP):
        return opened(_Unpacked(name, "rb", fileobj=file), name, reading)
    if is_wide(head, reading):
        return _Recoded(file, reading.encoding)
    return file


def is_wide(head: bytes, reading: Reading) -> bool:
    """Return whether a file that begins with `head` is in UTF-16 or UTF-32, as the training table is."""
    return reading.encoding.startswith(_WIDE) and (head[:1] in (b"\xff", b"\xfe") or 0 in head[:4])


class _Recoded:
    """Reads a file in UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, encoding: str) -> None:
        self._text = codecs.getreader(encoding)(file)

    def read(self, size: int) -> bytes:
        return self._text.read(size, size).encode()


def read_blocks(file: Bytes, name: str, dialect: Dialect, length: int | None, wanted: Sequence[str]) -> Iterator[Block]:
    """Yield the rows from the file's position on, at most `length` bytes; only the columns `wanted`."""
    waiting, line, encoding, left = bytearray(), dialect.line, dialect.encoding, length
    while True:
        piece = file.read(BLOCK if left is None else min(BLOCK, left))
        left = None if left is None else left - len(piece)
        waiting += piece
        end = find_end(waiting) if piece else len(waiting)
        if len(waiting) - end > _LONGEST:
            raise UserError(f"{name}: line {line} has more than {_LONGEST:,} bytes; a quote may not be closed")
        if end:
            block = bytes(waiting[:end])
            del waiting[:end]
            lines = block.count(b"\n")
            if not block.isascii():
                encoding = encoding or find_encoding(block, name, dialect.reading.encoding)
                block = _to_utf8(block, name, encoding or "utf-8", line)
            if block.strip():
                yield _parse(block, name, dialect, line, wanted)
            line += lines
        if not piece:
            return


def _to_utf8(block: bytes, name: str, encoding: str, line: int) -> bytes:
    try:
        return block.decode(encoding).encode()
    except UnicodeDecodeError as error:
        line += block.count(b"\n", 0, error.start)
        raise UserError(f"{name}: line {line} is not {encoding.upper()}; save it as UTF-8") from None


def _parse(block: bytes, name: str, dialect: Dialect, line: int, wanted: Sequence[str]) -> Block:
    places = {each: str(place) for place, each in enumerate(dialect.names, start=dialect.first) if each in set(wanted)}
    about = block, line, dialect.delimiter, dialect.width
    nameless = range(dialect.first + len(dialect.names), dialect.width)
    table = _parse_quickly(block, dialect, [*places.values(), *map(str, nameless)])
    if table is not None and not any(
        pa.compute.any(pa.compute.not_equal(table[str(each)], "")).as_py() for each in nameless
    ):
        return Block({each: table[place] for each, place in places.items()}, table.num_rows, [], *about)
    rows: list[tuple[int, list[str]]] = []
    ragged: list[tuple[int, list[str]]] = []
    try:
        for number, cells in _rows(block, dialect.delimiter, line):
            if any(cells[place].strip() for place in nameless if place < len(cells) == dialect.width):
                raise UserError(f"{name}: line {number} has a cell in a column without a name; give each column a name")
            (rows if len(cells) == dialect.width else ragged).append((number, cells))
    except csv.Error as error:
        raise UserError(f"{name}: from line {line} on it is not CSV: {error}") from None
    columns = {each: pa.array([cells[int(place)] for _, cells in rows], pa.string()) for each, place in places.items()}
    return Block(columns, len(rows), [Ragged(number, len(cells), dialect.width) for number, cells in ragged], *about)


def _parse_quickly(block: bytes, dialect: Dialect, included: list[str]) -> pa.RecordBatch | None:
    """Parse by Arrow; return None for rows that Python's parser reads differently, or that differ in width."""
    mark = re.escape(dialect.delimiter.encode())
    if b'"' in block and re.search(rb'(?<![\r\n"' + mark + rb'])"(?![\r\n"' + mark + rb"])", block):
        return None
    names = [str(place) for place in range(dialect.width)]
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(column_names=names, block_size=len(block) + 1, use_threads=False),
            pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=b'"' in block),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(included, pa.string()), include_columns=included, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    return table.combine_chunks().to_batches()[0] if included and table.num_rows else None


def _rows(block: bytes, delimiter: str, line: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each row that isn't empty. Raises csv.Error."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(block.decode(), newline=""), delimiter=delimiter, strict=True)
    first = line
    for cells in reader:
        if cells:
            yield first, cells
        first = line + reader.line_num
