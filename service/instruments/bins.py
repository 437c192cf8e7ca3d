"""Assign rows to each feature's drift bins, which training chose."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from service.contract import BooleanFeature, CategoryFeature, Contract, Feature
from service.encoding import Matrix
from service.inputs.layout import Layout

MOST_CATEGORIES: Final = 20
"""A feature of more categories has its rare ones counted in groups."""
_GROUP_SHARE: Final = 1 / MOST_CATEGORIES
_NAME_LENGTH: Final = 40
_MISSING: Final = "missing"
_UNSEEN: Final = "unseen"


class FeatureBins(NamedTuple):
    """The bins of a feature."""

    names: tuple[str, ...]
    """A number's or date's bin is named by its upper edge, others by their value or values; each name comes once."""
    shares: tuple[float, ...]
    """Share of the training rows in each bin; sums to 1."""
    edges: tuple[float, ...] = ()
    """Of numbers and dates."""
    codes: npt.NDArray[np.intp] | None = None
    """Of categories: the bin of each code from 0 up, then of UNSEEN and MISSING."""


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


def feature_bins(feature: Feature) -> FeatureBins:
    """Return the bins that drift is counted in."""
    match feature:
        case CategoryFeature():
            return _category_bins(feature)
        case BooleanFeature():
            return FeatureBins(("false", "true", _MISSING), feature.bin_shares, edges=(0.0,))
        case _:
            names = (*(str(np.float32(edge)) for edge in feature.bin_edges), "+Inf", _MISSING)
            return FeatureBins(names, feature.bin_shares, feature.bin_edges)


def _category_bins(feature: CategoryFeature) -> FeatureBins:
    """Return a bin for each category or group of rare ones, one for missing values and one for unseen ones.

    The population stability index of rows that do not drift is about (bins - 1) / rows. So there are at
    most 22 bins, however many categories there are.
    """
    groups = _groups(feature)
    known = len(feature.categories)
    codes = np.full(known + 2, len(groups) + 1, dtype=np.intp)
    codes[-1] = len(groups)  # Code -1 (MISSING) is the last of this array, -2 (UNSEEN) the one before it.
    for number, group in enumerate(groups):
        codes[group] = number
    shares = np.bincount(codes, [*feature.bin_shares[:-1], feature.unseen_share, feature.bin_shares[-1]])
    names = _unique([_group_name([feature.categories[code] for code in group]) for group in groups])
    return FeatureBins((*names, _MISSING, _UNSEEN), tuple(shares.tolist()), codes=codes)


def _groups(feature: CategoryFeature) -> list[list[int]]:
    """Return the codes of each bin; categories that count as unseen are in none."""
    shares = feature.bin_shares[:-1]
    counted = [code for code, share in enumerate(shares) if share > feature.rare_share or not feature.rare_share]
    if len(counted) <= MOST_CATEGORIES:
        return [[code] for code in counted]
    groups: list[list[int]] = []
    open_group: list[int] = []
    for code in counted:
        if shares[code] >= _GROUP_SHARE:
            groups.append([code])
            continue
        if sum(shares[each] for each in open_group) >= _GROUP_SHARE or not open_group:
            groups.append(open_group := [])
        open_group.append(code)
    return groups


def _group_name(categories: list[str]) -> str:
    if len(categories) == 1:
        return categories[0]
    return f"{categories[0]:.{_NAME_LENGTH}} … {categories[-1]:.{_NAME_LENGTH}}"


def _unique(names: list[str]) -> list[str]:
    """Change names that come twice or are those of the bins for missing and unseen values."""
    taken = {_MISSING, _UNSEEN}
    for place, name in enumerate(names):
        number = 0
        while names[place] in taken:
            number += 1
            names[place] = f"{name}_{number}"
        taken.add(names[place])
    return names
