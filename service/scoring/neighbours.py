"""An order of rows in which neighbours go the same ways through a forest.

A forest of some megabytes fits into no core's cache, so each row that goes another way
through its trees than the one before fetches them again. Rows that are alike in what the
scores depend on most find the way in the cache that their neighbours went.
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
        Rows to learn these columns from, whose columns are drawn each by itself: shape (rows, columns).
    scores
        What the model says about them: shape (rows,) or (rows, classes).
    """

    def __init__(self, drawn: Matrix, scores: npt.NDArray[np.float32]) -> None:
        spread = [_variance_between_groups(scores, drawn[:, column]) for column in range(drawn.shape[1])]
        self.columns = np.argsort(spread)[::-1][:_COLUMNS]
        """Their places in the matrix, the most important first."""

    def order(self, matrix: Matrix) -> npt.NDArray[np.intp]:
        """Give the places of rows in their new order.

        Each of the columns is cut into as many equal parts by rank. Rows are ordered by their part's
        first bit in each column, then by the second one, as along a Morton curve.
        """
        rank = np.arange(len(matrix))
        part = (rank * _LEVELS // len(matrix)).astype(np.uint8)
        count = len(self.columns)
        key = np.zeros(len(matrix), dtype=np.uint8)
        for place, column in enumerate(self.columns):
            high, low = part >> 1, part & 1
            shift = count - 1 - place
            key[np.argsort(matrix[:, column])] += (high << shift + count) + (low << shift)
        return np.argsort(key, kind="stable")


def _variance_between_groups(scores: npt.NDArray[np.float32], column: npt.NDArray[np.float32]) -> float:
    """How far the mean scores of rows with low, middling and high values lie apart."""
    groups = np.array_split(scores.reshape(len(scores), -1)[np.argsort(column)], _GROUPS)
    return float(np.var([group.mean(axis=0) for group in groups], axis=0).sum())
