"""A typical row for documentation and examples: a plausible one, but not a row of the table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.contract import BooleanFeature, CategoryFeature, DateFeature, Feature
from stages.stored import Table

Example = dict[str, bool | int | float | str]
_ORDER = {"category": 0, "boolean": 0, "number": 1, "date": 2}
FEWEST = 10
"""Each value occurs in at least this many rows, so that it reveals none of them."""
_MANY = 0.05
"""If this share of the rows has a number, it is treated like a category, such as a day of the week."""
_SHARES = (0.5, 0.4, 0.6, 0.3, 0.7)
_STEPS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1)
"""A day, hour, minute and second in microseconds, and 1 for whole numbers."""
_WHOLE = 2**24
"""float32 represents every whole number up to this one exactly."""

Floats = npt.NDArray[np.floating[Any]]


def build_example(rows: Table, features: Sequence[Feature]) -> Example:
    """Return a value for each feature, typical of the training rows that match the values chosen so far.

    First come the most frequent categories, each among the rows with those chosen before; then the
    median number of these rows, and after it only the half of them nearest to it counts. So the values
    fit together, unlike medians of whole columns. Each value occurs in at least `FEWEST` rows, or is
    between two values. If 1 to `FEWEST` - 1 rows equal the whole result, another quantile is tried.
    """
    ordered = sorted(features, key=lambda each: _ORDER[each.type])
    for share in _SHARES:
        values, same = _choose(rows, ordered, share)
        if same == 0 or same >= FEWEST:
            break
    return {each.name: values[each.name] for each in features}


def _as_floats(column: pd.Series, feature: Feature) -> Floats:
    """Return numbers, 0 and 1, codes of categories, or microseconds since 1970; NaN where there is no known value."""
    if isinstance(feature, DateFeature):
        moments = column.to_numpy("datetime64[us]")
        return np.where(np.isnat(moments), np.nan, moments.astype(np.int64))
    if isinstance(feature, CategoryFeature):
        codes = feature.encode(column.astype("str"))[:, 0]
        return np.where(codes < 0, np.float32(np.nan), codes)
    return feature.encode(column)[:, 0]


def _choose(rows: Table, ordered: Sequence[Feature], share: float) -> tuple[Example, int]:
    """Return a value for each feature, and how many rows have all of them; a column is in memory at a time."""
    values: Example = {}
    matching = np.arange(len(rows))
    same = np.ones(len(rows), dtype=bool)
    for feature in ordered:
        column = _as_floats(rows[feature.name], feature)
        known = matching[~np.isnan(column[matching])]
        is_named = isinstance(feature, CategoryFeature | BooleanFeature)
        about = column[known] if len(known) else column[~np.isnan(column)]
        value = _mode(about) if is_named else _quantile(about, share, column)
        values[feature.name] = _plain(value, column, feature)
        same &= column == value
        away = np.abs(np.subtract(column[known], value, dtype=np.float64))
        nearest = known[away == 0]
        if not is_named and len(nearest) < _MANY * len(known):
            nearest = known[np.argsort(away, kind="stable")[: len(known) // 2]]
        if len(nearest) >= FEWEST:
            matching = np.sort(nearest)
    return values, int(same.sum())


def _mode(known: Floats) -> Any:
    different, counts = np.unique(known, return_counts=True)
    return different[counts.argmax()]


def _quantile(known: Floats, share: float, column: Floats) -> Any:
    """Return the value below which this share of `known` lies; between two values if few rows of the column have it."""
    ordered = np.sort(known)
    place = int((len(ordered) - 1) * share)
    if np.count_nonzero(column == ordered[place]) >= FEWEST:
        return ordered[place]
    between = ordered[place : place + 2].mean()
    step = next((step for step in _STEPS if not np.any(column[~np.isnan(column)] % step)), None)
    return between // step * step if step else between


def _plain(value: Any, column: Floats, feature: Feature) -> bool | int | float | str:
    """Return the value for JSON; a number is an int if the column has only whole numbers."""
    match feature:
        case CategoryFeature():
            return feature.categories[int(value)]
        case BooleanFeature():
            return bool(value)
        case DateFeature():
            return str(np.datetime64(int(value), "us")).removesuffix(".000000")
    if abs(value) < _WHOLE and not np.any(column[~np.isnan(column)] % 1):
        return int(value)
    return float(str(value))  # as short as float32 allows
