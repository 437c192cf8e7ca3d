"""Rows counted by feature and bin, the bins that training drew (design decision 9)."""

from typing import Final

import numpy as np
import numpy.typing as npt

from service.contract import BooleanFeature, CategoryFeature, Contract, Feature, Matrix
from service.layout import Layout

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
        starts = np.cumsum([0, *map(len, self.names)])
        self.total = int(starts[-1])
        self._starts = starts[:-1]
        self._watched = layout.watched
        self._edges = [_edges(feature) for feature in contract.features]

    def places(self, numbers: Matrix) -> npt.NDArray[np.intp]:
        """Give the bin of each row and feature among all bins: shape (features, rows)."""
        watched = np.ascontiguousarray(numbers[:, self._watched].T)
        places = np.empty(watched.shape, dtype=np.intp)
        for feature, (values, (edges, codes)) in enumerate(zip(watched, self._edges, strict=True)):
            # NaN sorts behind the last edge and infinity: the bin of the missing.
            places[feature] = np.searchsorted(edges, values) if codes is None else codes[values.astype(np.intp)]
        places += self._starts[:, None]
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


def _edges(feature: Feature) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp] | None]:
    """Give edges to search among, or for a category the bin of each code: 0 and up, then MISSING and UNSEEN."""
    none = np.empty(0, dtype=np.float32)
    match feature:
        case CategoryFeature():
            known = len(feature.categories)
            # Code -1 is the last of this array, -2 the one before it.
            return none, np.array([*range(known), known + 1, known], dtype=np.intp)
        case BooleanFeature():
            return np.array([0.0, np.inf], dtype=np.float32), None
        case _:
            return np.array([*feature.bin_edges, np.inf], dtype=np.float32), None
