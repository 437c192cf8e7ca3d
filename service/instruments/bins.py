"""Assign rows to each feature's drift bins, which training chose."""

import numpy as np
import numpy.typing as npt

from service.bins import feature_bins
from service.contract import Contract
from service.encoding import Matrix
from service.inputs.layout import Layout


class Bins:
    """All bins of a contract's features, in the order of the features."""

    def __init__(self, contract: Contract, layout: Layout) -> None:
        self.features = [feature_bins(feature) for feature in contract.features]
        """The bins of each feature."""
        self._starts = np.cumsum([0, *(len(each.names) for each in self.features)])[:-1, None]
        self._watched = layout.watched
        edges = [each.edges for each in self.features]
        # The first edge of each feature, the second of each, and so on; no number is above infinity.
        self._edges = np.full((max(map(len, edges)), len(edges), 1), np.inf, dtype=np.float32)
        for feature, each in enumerate(edges):
            self._edges[: len(each), feature, 0] = each
        self._counts = np.min_scalar_type(len(self._edges))
        self._missing = np.array([[len(each) + 1] for each in edges], dtype=np.intp)
        self._codes = [(number, each.codes) for number, each in enumerate(self.features) if each.codes is not None]

    def places(self, numbers: Matrix) -> npt.NDArray[np.intp]:
        """Return the number of each row's bin among all features' bins: shape (features, rows).

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
