"""A column's cells, and the problems of a table, which are all reported in one run."""

from collections.abc import Callable, Iterable, Sequence
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
    column: Callable[[int], pa.ChunkedArray]
    """Returns the column at a position; it is read each time, because text takes much memory."""
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
    def counts(self) -> pa.StructArray:
        """The different texts as `values`, in the order of the rows, and the rows of each as `counts`."""
        counted = pc.value_counts(self.texts)
        return counted.filter(counted.field("values").is_valid())

    @cached_property
    def distinct(self) -> list[str]:
        """The different texts."""
        return list(self.counts.field("values").to_pylist())

    def parse(self, parse: Callable[[str], Any]) -> tuple[list[Any], str | None]:
        """Return the values of the different texts, and None or the first text that `parse` refuses with ValueError."""
        values = []
        for text in self.distinct:
            try:
                values.append(parse(text))
            except ValueError:
                return values, text
        return values, None

    def spread(self, values: Sequence[Any], missing: Any, dtype: str = "float64") -> npt.NDArray[Any]:
        """Return each row's value, shape (rows,); `values` has one for each of the different texts."""
        places = pc.index_in(self.texts, self.counts.field("values")).fill_null(len(values)).to_numpy()
        spread: npt.NDArray[Any] = np.array([*values, missing], dtype=dtype)[places]
        return spread

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

    def as_text(self) -> pd.Series:
        """Return the texts as they are."""
        series: pd.Series[Any] = self.texts.cast(pa.large_string()).to_pandas().astype("str").rename(self.name)
        return series
