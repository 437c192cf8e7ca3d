"""How well each feature alone tells the target: one that tells it nearly all may hold the outcome itself."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.contract import CategoryFeature, Contract

TOO_GOOD = 0.99
"""A feature with a greater area under the curve, or r², is reported."""
_MOST_ROWS = 10_000
_MOST_CODES = 100
_MOST_CLASSES = 20
_ROWS_OF_A_BIN = 50
_FEWEST = 5
"""A class with fewer rows in a half of the training rows is not looked at."""

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]


def find(train: pd.DataFrame, contract: Contract) -> Iterator[tuple[str, float]]:
    """Yield the features that alone have an area under the curve, or r², above `TOO_GOOD`, and that figure.

    At most 10,000 training rows are used. Classes count one against the rest, averaged. A number is
    tried as it is and cut into bins; a bin or category stands for the target's mean in one half of the
    rows, and is scored on the other half.
    """
    rows = train.iloc[np.random.default_rng(0).permutation(len(train))[:_MOST_ROWS]]
    outcomes = _outcomes(rows[contract.target], contract)
    for feature in contract.features if outcomes else ():
        column = rows[feature.name]
        if isinstance(feature, CategoryFeature):
            codes, value = column.factorize()[0], 0.0
        else:
            codes, value = _as_number(column, outcomes, is_classes=bool(contract.classes))
        value = max(value, _learn(codes, outcomes, is_classes=bool(contract.classes)))
        if value > TOO_GOOD:
            yield feature.name, value


def _outcomes(target: pd.Series, contract: Contract) -> list[Floats]:
    """Return the numbers, or a mark for each of the most frequent classes, of two classes for one."""
    if not contract.classes:
        return [target.to_numpy(np.float64)]
    classes = target.value_counts().sort_index().nlargest(_MOST_CLASSES).index
    marks = [(target == label).to_numpy(np.float64) for label in (classes[:1] if len(classes) == 2 else classes)]  # noqa: PLR2004
    halves = ((mark, np.array_split(mark, 2)) for mark in marks)
    return [mark for mark, parts in halves if all(_FEWEST <= part.sum() <= len(part) - _FEWEST for part in parts)]


def _as_number(column: pd.Series, outcomes: list[Floats], *, is_classes: bool) -> tuple[Codes, float]:
    """Return the bin of each row, and how well the column's order, or its values, tell the outcome."""
    moments = column.dtype.kind == "M"
    values = (column.to_numpy("datetime64[us]") if moments else column.to_numpy()).astype(np.float64)
    values[column.isna().to_numpy()] = -np.inf
    distinct, codes = np.unique(values, return_inverse=True)
    if is_classes:
        areas = [_area(np.arange(len(distinct), dtype=float), codes, outcome) for outcome in outcomes]
        alone = float(np.mean([max(area, 1 - area) for area in areas]))
    else:
        known = np.isfinite(values)
        ranks = np.unique(outcomes[0], return_inverse=True)[1]
        alone = max(_correlate(values[known], outcomes[0][known]), _correlate(codes, ranks))
    if len(distinct) > _MOST_CODES:
        bins = int(np.clip(len(values) // _ROWS_OF_A_BIN, 2, _MOST_CODES))
        codes = np.searchsorted(np.quantile(codes, np.arange(1, bins) / bins), codes)
    return codes, alone


def _correlate(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    """Return Pearson's squared correlation, 0 where there is none."""
    if len(a) <= _FEWEST or not np.ptp(a):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.nan_to_num(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1] ** 2, posinf=0))


def _learn(codes: Codes, outcomes: list[Floats], *, is_classes: bool) -> float:
    """Return the score of each code's mean outcome, learnt on one half and scored on the other."""
    codes, half = codes + 1, len(codes) // 2  # -1 is a missing category
    found = []
    for outcome in outcomes:
        rows = np.bincount(codes[:half], minlength=codes.max() + 1)
        sums = np.bincount(codes[:half], outcome[:half], minlength=codes.max() + 1)
        means = np.where(rows > 0, sums / np.maximum(rows, 1), outcome[:half].mean())
        score = _area(means, codes[half:], outcome[half:]) if is_classes else _r2(means[codes[half:]], outcome[half:])
        found.append(score)
    return float(np.mean(found))


def _area(scores: Floats, codes: Codes, outcome: Floats) -> float:
    """Return the area under the ROC curve of `scores[codes]`; equal scores count half."""
    places = np.unique(scores, return_inverse=True)[1][codes]
    hits, misses = np.bincount(places, outcome), np.bincount(places, 1 - outcome)
    below = np.cumsum(misses) - misses
    return float((hits * (below + misses / 2)).sum() / (hits.sum() * misses.sum()))


def _r2(predicted: Floats, outcome: Floats) -> float:
    spread = float(((outcome - outcome.mean()) ** 2).sum())
    return 1 - float(((outcome - predicted) ** 2).sum()) / spread if spread else 0.0
