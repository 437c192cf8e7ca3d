"""Rows counted by feature and bin, the bins that training drew (design decision 9)."""

from typing import Final

import numpy as np
import numpy.typing as npt

from service.contract import BooleanFeature, CategoryFeature, Contract, Feature, Matrix
from service.inputs.layout import Layout

_MISSING: Final = "missing"
_UNSEEN: Final = "unseen"


class Bins:
    """All bins of a contract's features, feature after feature.

    A feature has its bins in the order of `bin_shares`, the last being the missing values;
    a category has one more, of the names that training did not know.
    """

    def __init__(self, contract: Contract, layout: Layout) -> None:
        self.names = [bin_names(feature) for feature in contract.features]
        """Names of each feature's bins."""
        self._starts = np.cumsum([0, *map(len, self.names)])[:-1, None]
        self._watched = layout.watched
        edges = [_edges(feature) for feature in contract.features]
        # The first edge of each feature, the second of each, and so on; no number is above infinity.
        self._edges = np.full((max(map(len, edges)), len(edges), 1), np.inf, dtype=np.float32)
        for feature, each in enumerate(edges):
            self._edges[: len(each), feature, 0] = each
        self._counts = np.min_scalar_type(len(self._edges))
        self._missing = np.array([[len(each) + 1] for each in edges], dtype=np.intp)
        self._codes = [
            (number, _codes(feature))
            for number, feature in enumerate(contract.features)
            if isinstance(feature, CategoryFeature)
        ]

    def places(self, numbers: Matrix) -> npt.NDArray[np.intp]:
        """Give the bin of each row and feature among all bins: shape (features, rows).

        A number's bin is how many of its edges lie below it, counted for all features at once.
        """
        watched = np.ascontiguousarray(numbers[:, self._watched].T)
        below = np.zeros(watched.shape, dtype=self._counts)
        is_above = np.empty(watched.shape, dtype=np.bool_)
        for edges in self._edges:
            below += np.greater(watched, edges, out=is_above)
        places: npt.NDArray[np.intp] = np.where(np.isnan(watched), self._missing, below)
        for feature, codes in self._codes:
            places[feature] = codes[watched[feature].astype(np.intp)]
        places += self._starts
        return places


def bin_names(feature: Feature) -> list[str]:
    """Name the bins: a number's or date's by its upper edge, others by the value; each name comes once."""
    match feature:
        case CategoryFeature():
            return [*feature.categories, *_free(feature.categories, _MISSING, _UNSEEN)]
        case BooleanFeature():
            return ["false", "true", _MISSING]
        case _:
            return [*(str(np.float32(edge)) for edge in feature.bin_edges), "+Inf", _MISSING]


def _free(taken: tuple[str, ...], *names: str) -> list[str]:
    """Change names that are taken."""
    return [
        name if name not in taken else next(f"{name}_{n}" for n in range(len(taken) + 1) if f"{name}_{n}" not in taken)
        for name in names
    ]


def _edges(feature: Feature) -> tuple[float, ...]:
    match feature:
        case CategoryFeature():
            return ()
        case BooleanFeature():
            return (0.0,)
        case _:
            return feature.bin_edges


def _codes(feature: CategoryFeature) -> npt.NDArray[np.intp]:
    """Give the bin of each code: 0 and up, then MISSING and UNSEEN."""
    known = len(feature.categories)
    # Code -1 is the last of this array, -2 the one before it.
    return np.array([*range(known), known + 1, known], dtype=np.intp)
