"""Some rows of a table, whose columns are read one at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.stored import Table, batches, pieces

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Subset:
    """The rows of `table` that `marked`, boolean of shape (rows,), marks; they count from 0."""

    table: Table
    marked: Mask
    hidden: frozenset[str] = field(default=frozenset())
    """Columns that are not to be seen."""

    @property
    def columns(self) -> list[str]:
        """The names in the table's order."""
        return [name for name in self.table.columns if name not in self.hidden]

    @cached_property
    def _length(self) -> int:
        return int(np.count_nonzero(self.marked))

    def __len__(self) -> int:
        return self._length

    def __contains__(self, name: object, /) -> bool:
        return name in self.table and name not in self.hidden

    def __getitem__(self, name: Any, /) -> Any:
        found, start = [], 0
        for piece in pieces(self.table, name):
            found.append(piece[self.marked[start : start + len(piece)]])
            start += len(piece)
        return pd.concat(found, ignore_index=True)

    def only(self, marked: Mask) -> "Subset":
        """Return those of these rows that `marked`, of their shape, marks."""
        both = self.marked.copy()
        both[self.marked] = marked
        return Subset(self.table, both, self.hidden)

    def without(self, *names: str | None) -> "Subset":
        """Return the rows without some columns."""
        return replace(self, hidden=self.hidden | {name for name in names if name})

    def batches(self) -> Iterator[tuple[pd.DataFrame, Mask]]:
        """Yield batches of all rows and columns of the table, each with the mask of these rows."""
        start = 0
        for batch in batches(self.table):
            yield batch, self.marked[start : start + len(batch)]
            start += len(batch)
