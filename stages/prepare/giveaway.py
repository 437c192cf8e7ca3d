"""How well each feature alone tells the target: one that tells it nearly all may hold the outcome itself."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.contract import CategoryFeature, Contract, Feature

TOO_GOOD = 0.99
"""A feature with a greater area under the curve, or r², is told."""
MOST_ROWS = 10_000
_MOST_CODES = 100
_MOST_CLASSES = 20
_ROWS_OF_A_BIN = 50
_FEWEST = 5
"""A class with fewer rows in a half of the training rows is not looked at."""

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]


def find(train: pd.DataFrame, contract: Contract) -> Iterator[tuple[str, float]]:
    """Yield the features that alone have an area under the curve, or r², above `TOO_GOOD`, and that figure.

    At most `MOST_ROWS` training rows are used. Classes count one against the rest, averaged. A number is
    tried as it is and cut into bins; a bin or category stands for the target's mean in one half of the
    rows, and is scored on the other half.
    """
    rows = train.iloc[np.random.default_rng(0).permutation(len(train))[:MOST_ROWS]]
    outcomes = _outcomes(rows[contract.target], contract)
    if not outcomes.size:
        return
    for feature in contract.features:
        value = _measure(feature, rows[feature.name], outcomes, is_classes=bool(contract.classes))
        if value > TOO_GOOD:
            yield feature.name, value


def _outcomes(target: pd.Series, contract: Contract) -> Floats:
    """Return one column for numbers and two classes, else one for each of the most frequent classes."""
    if not contract.classes:
        return target.to_numpy(np.float64).reshape(-1, 1)
    classes = target.value_counts().sort_index().nlargest(_MOST_CLASSES).index
    marks = [(target == label).to_numpy(np.float64) for label in (classes[:1] if len(classes) == 2 else classes)]  # noqa: PLR2004
    half = len(target) // 2
    often = [
        each for each in marks if all(_FEWEST <= part.sum() <= len(part) - _FEWEST for part in _halves(each, half))
    ]
    return np.stack(often, axis=1) if often else np.empty((len(target), 0))


def _halves(values: Floats, half: int) -> tuple[Floats, Floats]:
    return values[:half], values[half:]


def _measure(feature: Feature, column: pd.Series, outcomes: Floats, *, is_classes: bool) -> float:
    half = len(column) // 2
    if isinstance(feature, CategoryFeature):
        codes = column.factorize()[0]
        return _learnt(codes, outcomes, half, is_classes=is_classes)
    values = column.to_numpy("datetime64[us]").astype(np.float64) if column.dtype.kind == "M" else column.to_numpy()
    values = np.where(column.isna(), -np.inf, values.astype(np.float64))
    distinct, codes = np.unique(values, return_inverse=True)
    alone = _separation(codes, outcomes) if is_classes else _correlation(values, codes, outcomes[:, 0])
    if len(distinct) > _MOST_CODES:
        bins = int(np.clip(len(values) // _ROWS_OF_A_BIN, 2, _MOST_CODES))
        codes = np.searchsorted(np.quantile(codes, np.arange(1, bins) / bins), codes)
    return max(alone, _learnt(codes, outcomes, half, is_classes=is_classes))


def _separation(codes: Codes, outcomes: Floats) -> float:
    """Average the areas of the order of `codes`, whichever end a class is at."""
    order = np.arange(codes.max() + 1.0)
    areas = [_area(order, codes, outcome) for outcome in outcomes.T]
    return float(np.mean([max(area, 1 - area) for area in areas]))


def _correlation(values: Floats, codes: Codes, outcome: Floats) -> float:
    """Return the greater of Pearson's and Spearman's squared correlation."""
    ranks = np.unique(outcome, return_inverse=True)[1]
    known = np.isfinite(values)
    pairs = [(values[known], outcome[known]), (codes, ranks)]
    return max(_squared(*pair) if len(pair[0]) > _FEWEST and np.ptp(pair[0]) else 0.0 for pair in pairs)


def _squared(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1] ** 2
    return float(found) if np.isfinite(found) else 0.0


def _learnt(codes: Codes, outcomes: Floats, half: int, *, is_classes: bool) -> float:
    """Learn each code's mean outcome on one half and score it on the other."""
    codes = codes + 1  # -1 is a missing category
    found = []
    for outcome in outcomes.T:
        rows = np.bincount(codes[:half], minlength=codes.max() + 1)
        sums = np.bincount(codes[:half], outcome[:half], minlength=codes.max() + 1)
        means = np.where(rows > 0, sums / np.maximum(rows, 1), outcome[:half].mean())
        score = _area(means, codes[half:], outcome[half:]) if is_classes else _r2(means[codes[half:]], outcome[half:])
        found.append(score)
    return float(np.mean(found))


def _area(scores: Floats, codes: Codes, outcome: Floats) -> float:
    """Return the area under the ROC curve of `scores[codes]`; equal scores count half."""
    positives = np.bincount(codes, outcome, minlength=len(scores))
    negatives = np.bincount(codes, 1 - outcome, minlength=len(scores))
    places = np.unique(scores, return_inverse=True)[1]
    hits, misses = np.bincount(places, positives), np.bincount(places, negatives)
    below = np.cumsum(misses) - misses
    return float((hits * (below + misses / 2)).sum() / (hits.sum() * misses.sum()))


def _r2(predicted: Floats, outcome: Floats) -> float:
    spread = float(((outcome - outcome.mean()) ** 2).sum())
    return 1 - float(((outcome - predicted) ** 2).sum()) / spread if spread else 0.0
