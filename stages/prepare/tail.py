"""Estimate how many new rows will have a category that the model does not keep."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_MOST_PSI = 0.05
"""The largest population stability index that rare categories may cause in new rows of the same kind."""
_FLOOR = 1e-4
"""The share that an empty bin counts as; monitoring's rules use the same."""

Counts = npt.NDArray[np.int64]


class Tail(NamedTuple):
    """Shares of rows, 0 to 1."""

    unseen: float
    """Training rows whose category is not kept."""
    unseen_in_new: float
    """New rows of the same kind whose category is not kept, as estimated from the training rows."""
    rare: float
    """For drift, kept categories with at most this share of the training rows are counted as not kept."""


def measure(kept: Counts, others: Counts, rows: int) -> Tail:
    """Estimate how a column's rare categories look in new rows.

    `kept` and `others` are the training rows of each category that is kept and that is not, `rows` all
    training rows. By chance, a category with few rows could have had none. So each row is left out in turn
    (Good 1953): if its category then has fewer rows than one that is not kept, a new row like it would be
    unseen. In the same way, some new rows belong to categories whose count is one lower; `rare` is the lowest
    count at which this hardly changes the shares of rows above and below it.
    """
    unseen = int(others.sum())
    rare = next(count for count in (0, *np.unique(kept).tolist()) if _psi(kept, others, count, rows) <= _MOST_PSI)
    return Tail(unseen / rows, (unseen + _count_moved(kept, others, 0)) / rows, rare / rows)


def _count_moved(kept: Counts, others: Counts, rare: int) -> float:
    """Estimate how many of `rows` new rows leave the kept categories of more than `rare` rows."""
    limit = int(others.max(initial=0))
    if rare >= limit:
        return float(kept[kept == rare + 1].sum())
    # Among categories with as many rows as the limit, names decide which are kept.
    ties = np.count_nonzero(others == limit)
    share = ties / (ties + np.count_nonzero(kept == limit))
    return float(kept[(kept > rare) & (kept <= limit)].sum() + share * kept[kept == limit + 1].sum())


def _psi(kept: Counts, others: Counts, rare: int, rows: int) -> float:
    """Estimate the population stability index of new rows if categories of at most `rare` rows count as unseen."""
    below, moved = int(others.sum() + kept[kept <= rare].sum()), _count_moved(kept, others, rare)
    training = np.maximum(np.array([below, rows - below]) / rows, _FLOOR)
    new = np.maximum(np.array([below + moved, rows - below - moved]) / rows, _FLOOR)
    return float(((new - training) * np.log(new / training)).sum())
