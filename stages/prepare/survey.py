"""Look at all cells once, batch by batch: hash the rows, and find out which columns have values in which rows."""

from typing import NamedTuple

import numpy as np

from stages import row_hash
from stages.prepare.subset import Subset
from stages.row_hash import Hashes
from stages.schema import Kind


class Survey(NamedTuple):
    """What is true of a table's rows and columns."""

    hashes: Hashes
    """The hash of each row's content, uint64 of shape (rows,)."""
    kinds: dict[str, Kind]
    """What the columns with any value in these rows are hashed as."""
    incomplete: frozenset[str]
    """All columns of the table without a value in one of its rows or more."""


def survey(rows: Subset) -> Survey:
    """Return the hashes and kinds of the columns of `rows`, and the columns of its table that have missing values."""
    names, start = rows.columns, 0
    hashes: Hashes = np.empty(len(rows), dtype=np.uint64)
    kinds: dict[str, Kind] = {}
    incomplete: set[str] = set()
    for batch, marked in rows.batches():
        missing = batch.isna()
        incomplete |= set(missing.columns[missing.any()])
        kinds |= {str(name): row_hash.kind(batch[name]) for name in names if not missing.loc[marked, name].all()}
        stop = start + int(np.count_nonzero(marked))
        hashes[start:stop] = row_hash.rows(batch.loc[marked, names])
        start = stop
    return Survey(hashes, {name: kinds[name] for name in map(str, names) if name in kinds}, frozenset(incomplete))
