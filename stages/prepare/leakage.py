"""Find target leakage: a feature that predicts the target almost perfectly by itself may contain the outcome."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.contract import Contract

TOO_GOOD = 0.99
"""A feature with a greater area under the curve, or r², is reported."""
_MOST_ROWS = 10_000
_MOST_CODES = 100
_MOST_CLASSES = 20
_ROWS_OF_A_BIN = 5
_FEWEST = 5
"""A class with fewer rows in either half of the training rows is skipped."""

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]


def choose(rows: int) -> Codes:
    """Return the places of at most 10,000 rows, in a random order; `find` takes so many, in this order."""
    return np.random.default_rng(0).permutation(rows)[:_MOST_ROWS].copy()  # a view would keep all


def find(rows: pd.DataFrame, names: Iterable[str], contract: Contract) -> Iterator[tuple[str, float]]:
    """Yield the features that have an area under the curve, or r², above `TOO_GOOD` by themselves, and that score.

    `names` are the features, and `rows` the training rows that `choose` chose. The score of classes is the average
    of each against the rest; a numeric target is also scored by its ranks. A category or a bin of numbers predicts its
    mean outcome in one half of the rows, and is scored on the other half; for classes, the order of numbers is too.
    """
    target = rows[contract.target]
    outcomes = _indicators(target) if contract.classes else [target.to_numpy(np.float64), target.rank().to_numpy()]
    for name in names:
        codes = _codes(rows[name])
        scores = [_score(codes, outcome, is_class=bool(contract.classes)) for outcome in outcomes]
        value = float(np.mean(scores) if contract.classes else max(scores)) if scores else 0.0
        if value > TOO_GOOD:
            yield name, value


def _indicators(target: pd.Series) -> list[Floats]:
    """Return 0 and 1 for each of the most frequent classes, shape (rows,); of two classes only for one."""
    classes = target.value_counts().sort_index().nlargest(_MOST_CLASSES).index
    marks = [(target == label).to_numpy(np.float64) for label in (classes[:1] if len(classes) == 2 else classes)]  # noqa: PLR2004
    halves = ((mark, np.array_split(mark, 2)) for mark in marks)
    return [mark for mark, parts in halves if all(_FEWEST <= part.sum() <= len(part) - _FEWEST for part in parts)]


def _codes(column: pd.Series) -> Codes:
    """Return the category of each row, or the bin of its number; 0 if it is missing."""
    if column.dtype.kind not in "fM":
        return np.asarray(column.factorize()[0] + 1)
    codes = np.asarray(column.rank(method="dense").fillna(0), dtype=np.intp)
    if codes.max() > _MOST_CODES:
        bins = int(np.clip(len(codes) // _ROWS_OF_A_BIN, 2, _MOST_CODES))
        return np.searchsorted(np.quantile(codes, np.arange(1, bins) / bins), codes)
    return codes


def _score(codes: Codes, outcome: Floats, *, is_class: bool) -> float:
    """Return how well each code's mean outcome, learnt on one half, predicts the outcome of the other half."""
    half = len(codes) // 2
    rows = np.bincount(codes[:half], minlength=codes.max() + 1)
    sums = np.bincount(codes[:half], outcome[:half], minlength=codes.max() + 1)
    means = np.where(rows > 0, sums / np.maximum(rows, 1), outcome[:half].mean())
    predicted, truth = means[codes[half:]], outcome[half:]
    if is_class:
        in_order = _area(codes.astype(np.float64), outcome)
        return max(_area(predicted, truth), in_order, 1 - in_order)
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - predicted) ** 2).sum()) / spread if spread else 0.0


def _area(scores: Floats, outcome: Floats) -> float:
    """Return the area under the ROC curve by the mean rank of the hits; equal scores count half."""
    ranks = pd.Series(scores).rank()[outcome == 1]
    return float((ranks.mean() - (len(ranks) + 1) / 2) / (len(scores) - len(ranks)))
