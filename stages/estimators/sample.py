"""The training rows that a model is fitted on: all of them, or `train.sample` rows drawn by their hashes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages import row_hash
from stages.params.params import Params
from stages.row_hash import Hashes
from stages.scores.metrics import Codes
from stages.stored import StoredTable


@dataclass(frozen=True, slots=True)
class Sample:
    """Training rows in the order of the file."""

    rows: pd.DataFrame
    places: Codes
    """The place of each row in the file, ascending; shape (rows,)."""
    of: int
    """The number of rows in the file."""
    order: Codes
    """The rows in the order of their hashes: the first ones are a smaller sample's. Shape (rows,); empty for all."""

    @property
    def is_all(self) -> bool:
        """Whether these are all training rows."""
        return len(self.rows) == self.of

    def first(self, share: float) -> Codes:
        """Return the rows that a sample of this share of the rows would have, ascending."""
        return np.sort(self.order[: round(share * len(self.order))])


def read_sample(path: Path, params: Params) -> Sample:
    """Read the training rows, or those of `train.sample`; the rest of the file is never in memory as a whole.

    A row is in the sample by the hash of its content with `random_state`, so equal commits give equal samples, and a
    larger sample contains a smaller one. Equal rows have different hashes.
    """
    table, wanted = StoredTable(path), params.train.sample
    if wanted is None or wanted >= len(table):
        return Sample(pd.read_parquet(path), np.arange(len(table)), len(table), np.empty(0, np.intp))
    hashes = row_hash.seeded(_hash_rows(table), params.random_state)
    places = np.sort(np.argpartition(hashes, wanted)[:wanted])
    return Sample(table.take(places), places, len(table), np.argsort(hashes[places], kind="stable"))


def _hash_rows(table: StoredTable) -> Hashes:
    """Return a hash for each row, with its number among the rows of the same content."""
    hashes = np.concatenate([row_hash.rows(batch) for batch in table.batches()])
    order = np.argsort(hashes, kind="stable")
    ascending = hashes[order]
    starts = np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))
    numbers = np.arange(len(hashes)) - np.repeat(starts, np.diff(np.append(starts, len(hashes))))
    hashes[order] = row_hash.seeded(ascending, numbers.astype(np.uint64))
    return hashes
