"""Cut the rows of a table into groups by the values of one column."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from service.contract import BooleanFeature, CategoryFeature, DateFeature, Feature, NumberFeature
from stages.scores.metrics import Codes, Floats
from stages.scores.units import cut_periods

MISSING = "(missing)"
_MOST_VALUES = 20
_MOST_DISTINCT = 12
_MOST_MONTHS = 24


def cut(feature: Feature, values: pd.Series) -> tuple[Codes, list[str]]:
    """Group the rows by one column: return each row's position in the list of names, shape (rows,), and the names."""
    return _join_rare(*_cut(feature, values), values)


def cut_values(values: pd.Series) -> tuple[Codes, list[str]]:
    """Group the rows by a column that is no feature: a number with many values by quarters of the rows."""
    known = values.dropna()
    many = len(known.unique()) > _MOST_DISTINCT
    if many and types.is_numeric_dtype(values.dtype) and not types.is_bool_dtype(values.dtype):
        edges = np.unique(np.quantile(known.to_numpy(np.float64), (0.25, 0.5, 0.75), method="lower"))
        codes = np.searchsorted(edges, values.to_numpy(np.float64, na_value=np.nan), side="left").astype(np.intp)
        return _join_rare(codes, _edge_names(edges), values)
    if types.is_datetime64_any_dtype(values.dtype):
        return _join_rare(*_periods(values.to_numpy("datetime64[us]")), values)
    codes, names = pd.factorize(values, sort=True)
    return _join_rare(codes, [_name(name) for name in names], values)


def _name(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _join_rare(codes: Codes, names: list[str], values: pd.Series) -> tuple[Codes, list[str]]:
    """Give missing values a name, join all but the most frequent values, and leave out names without a row."""
    codes[values.isna().to_numpy()] = len(names)
    names = [*names, MISSING]
    counts = np.bincount(codes, minlength=len(names))
    # The most frequent values, then by name. Missing values are never among the others.
    frequent = np.argsort(-counts[:-1], kind="stable")
    others = [int(code) for code in frequent[_MOST_VALUES:] if counts[code]]
    if len(others) > 1:
        codes[np.isin(codes, others)] = len(names)
        names = [*names, f"({len(others)} others)"]
    present = np.bincount(codes, minlength=len(names)) > 0
    return (np.cumsum(present) - 1)[codes], [name for name, occurs in zip(names, present, strict=True) if occurs]


def _cut(feature: Feature, values: pd.Series) -> tuple[Codes, list[str]]:
    """Group the rows, with the names in natural order; a missing value may get any position."""
    match feature:
        case CategoryFeature():
            codes, names = pd.factorize(values, sort=True)
            return codes, [str(name) for name in names]
        case BooleanFeature():
            return (values.to_numpy(np.float32) == 1).astype(np.intp), ["false", "true"]
        case DateFeature():
            return _periods(values.to_numpy("datetime64[us]"))
        case NumberFeature():
            return _bins(feature, values.to_numpy(np.float32))


def _periods(moments: npt.NDArray[np.datetime64]) -> tuple[Codes, list[str]]:
    places, distinct = cut_periods(moments, "M")
    if np.count_nonzero(~np.isnat(distinct)) > _MOST_MONTHS:
        places, distinct = cut_periods(moments, "Y")
    return places, [str(period) for period in distinct]


def _bins(feature: NumberFeature, values: npt.NDArray[np.float32]) -> tuple[Codes, list[str]]:
    places, distinct = pd.factorize(values, sort=True)
    if len(distinct) <= _MOST_DISTINCT:
        return places, [number(value) for value in distinct.tolist()]
    edges = np.asarray(feature.bin_edges, dtype=np.float32)
    # NaN sorts behind the last edge.
    return np.searchsorted(edges, values, side="left").astype(np.intp), _edge_names(feature.bin_edges)


def _edge_names(inner: Sequence[float] | Floats) -> list[str]:
    edges = [number(edge) for edge in inner]
    if not edges:
        return ["any"]
    between = [f"above {low} to {high}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]}", *between, f"above {edges[-1]}"]


def number(value: float | np.floating[Any]) -> str:
    """Return a float32 as text, in the fewest digits that identify it."""
    return str(np.float32(value)).removesuffix(".0")
