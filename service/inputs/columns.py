"""Check rows of CSV against the contract, and encode them column by column."""

import contextlib
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.cells import Reading
from service.contract import Contract
from service.encoding import Matrix
from service.http.problems import FieldError, Problem
from service.inputs.explain import Checker, Findings, expected, unknown_field
from service.inputs.layout import Layout
from service.inputs.readers import InvalidValueError, Reader

_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?[ \t,;]*(?:\r\n|\r|\n)')
_DELIMITERS: Final = (",", ";", "\t", "|")
_PLAIN: Final = ","
"""The delimiter of CSV with decimal points, which most programs write. It is accepted besides the table's own."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header line, and how to read the lines below it."""

    names: list[str]
    delimiter: str
    skipped: int
    """Number of characters before the header: those of Excel's line ``sep=``."""

    def reading(self, contract: Contract) -> Reading:
        """Return how to read the cells: as in the training table, or with decimal points if commas separate them."""
        if self.delimiter == _PLAIN != contract.reading.delimiter:
            return contract.reading.model_copy(update={"decimal": ".", "thousands": ""})
        return contract.reading

    def columns(self, reading: Reading) -> tuple[list[str], int]:
        """Return the columns' names without the last ones that have none, and the place of the first.

        A first column that only counts the rows isn't among them.
        """
        names = [_clean(name) for name in self.names]
        end = len(names)
        first = int(reading.row_names and end > 1 and not names[0])
        while end > first + 1 and not names[end - 1]:
            end -= 1
        return [name or f"column {place}" for place, name in enumerate(names[first:end], start=1)], first


def find_header(contract: Contract, text: str) -> Header | None:
    """Return the header of a table with the training table's delimiter or with commas.

    Return None if all lines are empty. Raises csv.Error.
    """
    hint = _SEPARATOR_LINE.match(text)
    skipped = hint.end() if hint else 0
    own = hint.group(1) if hint else contract.reading.delimiter
    known = {*(feature.name for feature in contract.features), *contract.ignored}
    for delimiter in dict.fromkeys((own, contract.reading.delimiter, _PLAIN)):
        with contextlib.suppress(csv.Error):  # if no delimiter fits, it is raised below
            names = _first_row(text[skipped:], delimiter)
            if known.intersection(map(_clean, names)):
                return Header(names, delimiter, skipped)
    names = _first_row(text[skipped:], own)
    return Header(names, own, skipped) if names else None


def find_end(content: bytes | bytearray) -> int:
    """Return the index after the last end of line that is outside quotation marks, or 0 if there is none."""
    end = content.rfind(b"\n") + 1
    inside = content.count(b'"', 0, end) % 2
    while end and inside:
        before = content.rfind(b"\n", 0, content.rfind(b'"', 0, end)) + 1
        inside ^= content.count(b'"', before, end) % 2
        end = before
    return end


def _first_row(text: str, delimiter: str) -> list[str]:
    """Return the cells of the first line that isn't empty, or an empty list."""
    return next(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)), [])


def _clean(name: str) -> str:
    """Return a column name like the training table's reader: without spaces around it or line breaks in it."""
    return re.sub(r"\s*[\t\n\v\f\r]+\s*", " ", name.strip())


class CsvReader:
    """Reads the rows below a header.

    The constructor raises Problem if the names aren't those of the contract.
    """

    def __init__(self, contract: Contract, layout: Layout, header: Header) -> None:
        reading = header.reading(contract)
        names, first = header.columns(reading)
        self._nameless = range(first + len(names), len(header.names))
        _check_separator(contract, header)
        check_names(contract, names)
        self._readers = [Reader(feature, reading) for feature in contract.features]
        self._layout = layout
        self._places = {name: place for place, name in enumerate(names, start=first)}
        self._checker = Checker(self._readers, {*names}, are_cells=True)

    def read(self, rows: Sequence[Sequence[str]], first: int, findings: Findings) -> Matrix | None:
        """Encode rows that have as many cells as the header; `first` is the number of the first row.

        If a cell is wrong, add it to `findings` and return None. Raises Problem for a cell in a column without a name.
        """
        columns = list(zip(*rows, strict=True))
        self._check_nameless(columns, first)
        columns.append(("",) * len(rows))  # for each feature that has no column
        try:
            encoded = [
                reader.encode_cells(columns[self._places.get(reader.feature.name, -1)]) for reader in self._readers
            ]
        except InvalidValueError:
            self._checker.check(self.to_instances(rows), findings, first)
            return None
        return self._layout.join(encoded)

    def to_instances(self, rows: Sequence[Sequence[str]]) -> list[dict[str, str]]:
        """Return each row as a dictionary from column name to cell."""
        return [{name: row[place] for name, place in self._places.items()} for row in rows]

    def _check_nameless(self, columns: Sequence[Sequence[str]], first: int) -> None:
        for place in self._nameless:
            row = next((row for row, text in enumerate(columns[place]) if text.strip()), None)
            if row is not None:
                detail = f"Row {first + row} has a cell in a column without a name; give each column a name"
                raise Problem(422, detail, title="Column without a name")


def _check_separator(contract: Contract, header: Header) -> None:
    """Raise Problem if the header seems to have another delimiter: it is one cell that contains it."""
    if len(header.names) == 1 and header.names[0] not in {feature.name for feature in contract.features}:
        for separator in _DELIMITERS:
            if separator in header.names[0]:
                kind = {",": "commas"}.get(header.delimiter, repr(header.delimiter))
                detail = f"Cells must be separated by {kind}, but the header has {separator!r}"
                raise Problem(422, detail, title=f"Not separated by {kind}")


def check_names(contract: Contract, names: Sequence[str]) -> None:
    """Raise Problem unless the names are those of the contract; nullable features may be left out."""
    findings = Findings()
    features = {feature.name: feature for feature in contract.features}
    known = {*features, *contract.ignored}
    seen: set[str] = set()
    for name in names:
        if name not in known:
            findings.add(unknown_field(name, contract.derived), "unknown")
        elif name in seen:
            findings.add(FieldError("each column once", "a second one", field=name), "unknown")
        seen.add(name)
    for name, feature in features.items():
        if name not in seen and not feature.nullable:
            findings.add(FieldError(f"a column of {expected(feature)}", "none", field=name), "missing", name)
    findings.refuse()
