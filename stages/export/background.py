"""Background rows for explanations: they are distributed like the training rows, but none is a training row.

The artifact contains them, so they must reveal nobody. First each column gets coarser (microaggregation: Domingo-Ferrer
and Mateo-Sanz 2002), then rows are composed value by value, each from one of ten or more training rows that match
the values before (sequential synthesis: Rubin 1993; Nowok, Raab and Dibben 2016).
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature
from service.encoding import UNSEEN, Matrix
from stages.stored import Table, every_nth

ROWS: Final = 64
FEWEST: Final = 10
"""Each value occurs in at least this many training rows, or is the mean of as many rarer ones."""
_DRAWN: Final = 4 * ROWS
_MOST_ROWS: Final = 20_000
_NEAREST: Final = 0.1
"""If too few rows have the same number, this share of the rows, those with the nearest numbers, match."""

Floats = npt.NDArray[np.floating[Any]]


def draw_background(rows: Table, contract: Contract, score: Callable[[Matrix], Floats]) -> Matrix:
    """Return at most `ROWS` encoded rows, shape (rows, columns of the model), the same for the same training rows.

    `score` returns one number for each row. Four times as many rows are drawn, ordered by it, and every fourth is
    taken: so their scores are spread like those of all.
    """
    sample = every_nth(rows, _MOST_ROWS)
    columns = [coarsen(_as_floats(sample[each.name], each), each) for each in contract.features]
    values = np.stack(columns, axis=1)
    rng = np.random.default_rng(0)
    drawn = np.stack([_draw(values, rng) for _ in range(_DRAWN)])
    drawn = drawn[~_find_rare(values, drawn)]
    if len(drawn) < ROWS:
        drawn = rng.permuted(np.repeat(values, -(-ROWS // len(values)), axis=0), axis=0)[:_DRAWN]
    encoded = np.concatenate([_encode(*each) for each in zip(drawn.T, contract.features, strict=True)], axis=1)
    order = np.argsort(score(encoded), kind="stable")
    middles = (np.arange(ROWS) + 0.5) * len(order) / ROWS
    return encoded[order[middles.astype(np.intp)]]


def coarsen(column: Floats, feature: Feature) -> Floats:
    """Return the column with only values that `FEWEST` rows have.

    Rarer numbers become the mean of at least as many rarer ones, or the median if there are too few; rarer categories
    become `UNSEEN`. The median also fills gaps of fewer rows.
    """
    known = np.flatnonzero(~np.isnan(column))
    known = known[np.argsort(column[known], kind="stable")]
    if len(known) < FEWEST:
        return np.full(len(column), np.nan)
    values = column[known]
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    rare = count[group] < FEWEST
    if isinstance(feature, CategoryFeature):
        values[rare] = UNSEEN
    elif rare.sum() < FEWEST:
        values[rare] = _middle(values[~rare])
    else:
        parts = np.array_split(values[rare], rare.sum() // FEWEST)
        values[rare] = np.concatenate([np.full(len(part), part.mean()) for part in parts])
    if isinstance(feature, BooleanFeature):
        values = values.round()
    coarse = np.full(len(column), _middle(values) if len(column) - len(known) < FEWEST else np.nan)
    coarse[known] = values
    return coarse


def _middle(ordered: Floats) -> float:
    return float(ordered[len(ordered) // 2])


def _as_floats(column: pd.Series, feature: Feature) -> Floats:
    """Return numbers, 0 and 1, codes of categories, or microseconds since 1970; NaN where there is no number."""
    if isinstance(feature, DateFeature):
        moments = column.to_numpy("datetime64[us]")
        return np.where(np.isnat(moments), np.nan, moments.astype(np.int64))
    return feature.encode(column)[:, 0].astype(np.float64)


def _encode(values: Floats, feature: Feature) -> Matrix:
    if isinstance(feature, DateFeature):
        moments = np.nan_to_num(values).astype(np.int64).astype("datetime64[us]")
        moments[np.isnan(values)] = np.datetime64("NaT")
        return feature.encode(moments)
    return values.astype(np.float32).reshape(-1, 1)


def _draw(values: Floats, rng: np.random.Generator) -> Floats:
    """Compose a row: in random order of the features, take a value from the rows that match the values before."""
    row = np.empty(values.shape[1])
    matching = np.arange(len(values))
    for feature in rng.permutation(values.shape[1]):
        column = values[matching, feature]
        row[feature] = value = column[rng.integers(len(column))]
        same = np.flatnonzero(_equal(column, value))
        if len(same) < FEWEST:
            size = max(FEWEST, int(len(column) * _NEAREST))
            same = np.argsort(np.abs(column - value), kind="stable")[:size]
        matching = matching[same]
    return row


def _equal(one: Floats, other: Any) -> npt.NDArray[np.bool_]:
    equal: npt.NDArray[np.bool_] = (one == other) | (np.isnan(one) & np.isnan(other))
    return equal


def _find_rare(values: Floats, drawn: Floats) -> npt.NDArray[np.bool_]:
    """Return for each drawn row whether 1 to `FEWEST` - 1 training rows equal it."""
    equal = np.array([_equal(values, row).all(axis=1).sum() for row in drawn])
    return (equal > 0) & (equal < FEWEST)
