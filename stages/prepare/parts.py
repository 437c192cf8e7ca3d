"""The prepared rows: features as the model reads them, the target, and columns that later stages need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from service.contract import Contract
from stages.prepare.subset import Mask, Subset
from stages.stored import batches

Pairs = Iterator[tuple[pd.DataFrame, pd.DataFrame]]
"""Training and test rows, batch by batch; a batch may have none of either."""


@dataclass(frozen=True, slots=True)
class Part:
    """The training rows, or the test rows."""

    rows: Subset
    keep: list[str]
    """The table's columns that are kept as they are."""
    more: Mapping[str, Any]
    """Further columns with a value for each of these rows: the target, and of test rows the hash."""


def typed_batches(contract: Contract, train: Part, test: Part) -> Pairs:
    """Yield the training and the test rows of each batch of the table."""
    start, starts = 0, [0, 0]
    for batch in batches(train.rows.table):
        pair = []
        for side, part in enumerate((train, test)):
            marked = part.rows.marked[start : start + len(batch)]
            pair.append(_typed(batch, marked, contract, part, starts[side]))
            starts[side] += len(pair[side])
        start += len(batch)
        yield pair[0], pair[1]


def _typed(batch: pd.DataFrame, marked: Mask, contract: Contract, part: Part, start: int) -> pd.DataFrame:
    """Return features as float32, text and datetime64, then the columns `keep` and `more`."""
    rows = batch.loc[marked].reset_index(drop=True)
    columns: dict[str, Any] = {}
    for feature in contract.features:
        values = rows[feature.name]
        if feature.type in ("number", "boolean"):
            columns[feature.name] = values.to_numpy(np.float32, na_value=np.nan)
        else:
            columns[feature.name] = values.astype("str" if feature.type == "category" else "datetime64[us]")
    columns |= {name: rows[name] for name in part.keep}
    for name, values in part.more.items():
        piece = values[start : start + len(rows)]
        columns[name] = piece.astype(piece.categories.dtype) if isinstance(piece, pd.Categorical) else piece
    return pd.DataFrame(columns)
