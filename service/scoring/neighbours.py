"""An order of rows in which neighbours take the same ways through a forest.

A forest of some megabytes fits into no core's cache, so a row that takes another way through
its trees than the row before fetches them again. Ordered rows take 0.76 to 0.84 of the time.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from service.encoding import Matrix

FEW_ROWS: Final = 200
"""Among fewer rows too few are alike."""
_COLUMNS: Final = 3
_LEVELS: Final = 4
_GROUPS: Final = 8


class Neighbours:
    """Orders rows by the columns that scores depend on most.

    Parameters
    ----------
    drawn
        Rows to learn these columns from, whose columns are drawn independently: shape (rows, columns).
    scores
        What the model says about them: shape (rows,) or (rows, classes).
    """

    def __init__(self, drawn: Matrix, scores: npt.NDArray[np.float32]) -> None:
        spread = [_variance_between_groups(scores, column) for column in drawn.T]
        self._columns = np.argsort(spread)[::-1][:_COLUMNS]

    def order(self, matrix: Matrix) -> npt.NDArray[np.intp]:
        """Return the places of rows in their new order.

        Each of the columns is cut into as many equal parts by rank. Rows are ordered by their part's
        first bit in each column, then by the second one, as along a Morton curve.
        """
        part = (np.arange(len(matrix)) * _LEVELS // len(matrix)).astype(np.uint8)
        count, key = len(self._columns), np.zeros(len(matrix), dtype=np.uint8)
        for shift, column in enumerate(reversed(self._columns)):
            key[np.argsort(matrix[:, column])] += (part >> 1 << shift + count) + ((part & 1) << shift)
        return np.argsort(key, kind="stable")


def _variance_between_groups(scores: npt.NDArray[np.float32], column: npt.NDArray[np.float32]) -> float:
    """Return how far apart the mean scores of rows with low, middling and high values lie."""
    groups = np.array_split(scores.reshape(len(scores), -1)[np.argsort(column)], _GROUPS)
    return float(np.var([group.mean(axis=0) for group in groups], axis=0).sum())
