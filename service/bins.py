"""The bins of each feature in which drift is counted; training chose them."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from service.contract import BooleanFeature, CategoryFeature, Feature

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
