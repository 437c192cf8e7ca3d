"""All that is wrong with a table, found in one run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
"""The number of a table's first row: the header is row 1, as a person counts who sees the table in an editor."""

_TRIED = 32
_MOST = 50
_SHOWN = 40

Locate = Callable[[Iterable[int]], dict[int, str]]
"""Returns where rows (from 0) stand in the file, such as ``line 17``."""


class Findings:
    """The problems of one file."""

    def __init__(self, path: str, target: str) -> None:
        self._path = path
        self._target = target
        self._found: list[tuple[int | None, str | None, str, str]] = []

    def add(self, problem: str, remedy: str, column: str | None = None, row: int | None = None) -> None:
        """Keep one problem of the file, of a column or of a cell (`row` counts from 0)."""
        if column == self._target:  # it can neither be left out nor be a category
            remedy = remedy.replace(LEAVE_OUT, "set data.task: classification if the target holds classes")
        self._found.append((row, column, problem, remedy))

    def stop(self, locate: Locate) -> None:
        """Raise UserError with one line for each problem, if there is one."""
        places = locate({row for row, *_ in self._found if row is not None})
        lines = []
        for row, column, problem, remedy in self._found[:_MOST]:
            named = "" if column is None else f"column {column!r}"
            where = named if row is None else places[row] + (f", {named}:" if named else "")
            lines.append(f"{self._path}: {where} {problem}; {remedy}".replace(":  ", ": "))
        if len(self._found) > _MOST:
            lines.append(f"{self._path}: and {len(self._found) - _MOST:,} more problems; correct these first")
        if lines:
            raise UserError(*lines)


@dataclass(frozen=True, slots=True)
class Source:
    """A file's columns as they stand in it."""

    names: list[str]
    column: Callable[[int], pa.ChunkedArray]
    """Returns the column at a place, once: then it is let go, for text takes more memory than what is made of it."""
    locate: Locate
    reading: Reading


@dataclass(frozen=True, slots=True)
class Cells:
    """A column of text, without blanks around the texts and null where a value is missing."""

    name: str
    texts: pa.ChunkedArray
    findings: Findings

    @property
    def known(self) -> int:
        """Number of cells with a value."""
        return len(self.texts) - int(self.texts.null_count)

    def report(self, row: int, problem: str, remedy: str = CORRECT) -> None:
        """Report the problem of the cell in `row`; the message begins with the cell."""
        text = self.show(row)
        # As it is to be written in YAML, between single quotes: a backslash stands for itself.
        shown = repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...").replace("\\\\", "\\")
        self.findings.add(f"{shown} {problem}", remedy, self.name, row)

    def show(self, row: int) -> str:
        """Return the cell as text."""
        return str(self.texts[row].cast(pa.string()).as_py())

    def row_of(self, text: str) -> int:
        """Return the first row with this text."""
        return int(pc.index(self.texts, text).as_py())

    def distinct(self) -> "Distinct":
        """Return the different texts."""
        counted = pc.value_counts(self.texts)
        counted = counted.filter(counted.field("values").is_valid())
        values = counted.field("values")
        return Distinct(self.texts, values, counted.field("counts").to_numpy(), values.to_pylist())

    def cast(self, kind: pa.DataType) -> pa.ChunkedArray | None:
        """Return the texts parsed as `kind`; None if a cell is no such text.

        The first values are tried before all: Arrow parses on after a failure, and a failure costs
        it a hundred times what a number does.
        """
        try:
            pc.cast(self.texts.slice(0, _TRIED), kind)
            return pc.cast(self.texts, kind)
        except pa.ArrowInvalid:
            return None


@dataclass(frozen=True, slots=True)
class Distinct:
    """The different texts of a column, in the order in which they come."""

    cells: pa.ChunkedArray
    array: pa.Array
    counts: npt.NDArray[np.int64]
    """How many rows have each."""
    texts: list[str]

    def spread(self, values: Sequence[Any], missing: Any, dtype: str = "float64") -> npt.NDArray[Any]:
        """Return for each row the value of its text, where `values` has one for each different text."""
        places = pc.index_in(self.cells, self.array).fill_null(len(self.texts)).to_numpy()
        spread: npt.NDArray[Any] = np.array([*values, missing], dtype=dtype)[places]
        return spread


def read_text(cells: Cells) -> pd.Series:
    """Return the texts as they are."""
    series: pd.Series[Any] = cells.texts.cast(pa.large_string()).to_pandas().astype("str").rename(cells.name)
    return series
