"""A column's cells, and the problems of a table, which are all reported in one run."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import Reading
from stages.errors import UserError

LEAVE_OUT = "list the column under data.categorical or data.ignore"
CORRECT = f"correct it, add it to data.missing if it means no value, or {LEAVE_OUT}"
FIRST_ROW = 2
"""The number of a table's first row: the header is row 1, as in a spreadsheet."""
MOST_COUNTED = 1000
_TRIED = 32
_MOST = 50
_SHOWN = 40

Locate = Callable[[Iterable[int]], dict[int, str]]
"""Returns where rows (from 0) are in the file, such as ``line 17``."""


class Findings:
    """The problems of one file."""

    def __init__(self, path: str, target: str) -> None:
        self._path = path
        self._target = target
        self._found: list[tuple[int | None, str | None, str]] = []

    def add(self, problem: str, remedy: str, column: str | None = None, row: int | None = None) -> None:
        """Add a problem of the file, of a column or of a cell (`row` counts from 0)."""
        if column == self._target:  # the target can't be ignored or categorical
            remedy = remedy.replace(LEAVE_OUT, "set data.task: classification if the target holds classes")
        self._found.append((row, column, f"{problem}; {remedy}"))

    def stop(self, locate: Locate) -> None:
        """Raise UserError with one line for each problem, if there is one."""
        shown = self._found[:_MOST]
        places = locate({row for row, *_ in shown if row is not None})
        lines = []
        for row, column, problem in shown:
            where = "" if column is None else f"column {column!r} "
            where = where if row is None else f"{places[row]}, column {column!r}: "
            lines.append(f"{self._path}: {where}{problem}")
        if len(self._found) > _MOST:
            lines.append(f"{self._path}: and {len(self._found) - _MOST:,} more problems; correct these first")
        if lines:
            raise UserError(*lines)


@dataclass(frozen=True, slots=True)
class Source:
    """The columns of a file."""

    names: list[str]
    chunks: Callable[[int], Iterator[pa.Array]]
    """Returns the cells of the column at a position, piece by piece, because text takes much memory."""
    rows: int
    locate: Locate
    reading: Reading


@dataclass(frozen=True)
class Cells:
    """The cells of a column; text has no blanks around it, and is null where a value is missing."""

    name: str
    texts: pa.ChunkedArray
    findings: Findings

    @property
    def known(self) -> int:
        """Number of cells with a value."""
        return len(self.texts) - int(self.texts.null_count)

    @cached_property
    def counts(self) -> dict[str, int]:
        """The first 1,000 different texts, in the order of the rows, and how many rows have each."""
        counts: dict[str, int] = {}
        for chunk in self.texts.chunks:
            found = pc.value_counts(chunk.drop_null())
            if len(counts) == MOST_COUNTED:
                found = found.filter(pc.is_in(found.field("values"), pa.array(counts, found.field("values").type)))
            for text, rows in zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True):
                if text in counts or len(counts) < MOST_COUNTED:
                    counts[text] = counts.get(text, 0) + rows
        return counts

    def parse(self, parse: Callable[[str], Any], missing: Any, dtype: Any) -> tuple[npt.NDArray[Any], str | None]:
        """Return each row's value, shape (rows,), and None or the first text that `parse` refuses with ValueError.

        A text is parsed once in each chunk.
        """
        values, start = np.empty(len(self.texts), dtype), 0
        for chunk in self.texts.chunks:
            encoded = chunk.dictionary_encode()
            parsed = []
            for text in encoded.dictionary.to_pylist():
                try:
                    parsed.append(parse(text))
                except ValueError:
                    return values, text
            places = encoded.indices.fill_null(len(parsed)).to_numpy()
            values[start : start + len(chunk)] = np.array([*parsed, missing], dtype)[places]
            start += len(chunk)
        return values, None

    def floats(self) -> npt.NDArray[np.float64]:
        """Return numbers, or plain numbers in text; NaN where a value is missing."""
        values, start = np.empty(len(self.texts)), 0
        for chunk in self.texts.chunks:
            values[start : start + len(chunk)] = pc.cast(chunk, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            start += len(chunk)
        return values

    def cast(self, kind: pa.DataType) -> pa.ChunkedArray | None:
        """Return the texts as `kind`; None if a cell cannot be cast.

        The first cells are tried first, because a failure takes Arrow a hundred times as long as a number.
        """
        try:
            pc.cast(self.texts.slice(0, _TRIED), kind)
            return pc.cast(self.texts, kind)
        except pa.ArrowInvalid:
            return None

    def report(self, cell: str | int, problem: str, remedy: str = CORRECT) -> None:
        """Report a problem of a cell: that of a row (from 0), or the first with a text."""
        row = cell if isinstance(cell, int) else int(pc.index(self.texts, cell).as_py())
        text = self.show(row)
        # As in YAML's single quotes, where a backslash is no escape.
        shown = repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...").replace("\\\\", "\\")
        self.findings.add(f"{shown} {problem}", remedy, self.name, row)

    def show(self, row: int) -> str:
        """Return the cell as text."""
        return str(self.texts[row].cast(pa.string()).as_py())

    def show_rows(self, rows: npt.NDArray[np.intp]) -> Iterator[tuple[int, str]]:
        """Yield each of these rows, which rise, with its cell as text."""
        start = 0
        for chunk in self.texts.chunks if len(rows) else ():
            here = rows[slice(*np.searchsorted(rows, [start, start + len(chunk)]))]
            texts = chunk.take(pa.array(here - start)).cast(pa.large_string()).to_pylist()
            yield from zip(here.tolist(), texts, strict=True)
            start += len(chunk)

    def as_text(self) -> pd.Series:
        """Return the texts as they are."""
        series: pd.Series[Any] = self.texts.cast(pa.large_string()).to_pandas().astype("str").rename(self.name)
        return series
