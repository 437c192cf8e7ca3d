"""Predictions with the true values, and the metrics of metrics.json, with scikit-learn's names.

Every metric takes weights of the rows, so that an interval can leave rows out; the tests compare
each with scikit-learn's and its `sample_weight`. Rows are sorted once for all weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.contract import Contract, Label
from stages.scores.gate import DIGITS, main_metric

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]
Scores = npt.NDArray[np.floating[Any]]
Statistics = Callable[[Floats], dict[str, float]]
"""A function from weights, shape (rows,), to metrics; undefined metrics are left out."""
_CHUNK = 1 << 17
"""Rows for which intermediate results are in memory at a time."""
_SMALL = 128
"""With fewer labels, a pair of them fits into 16 bits."""
_OF_THE_TARGETS_SCALE = ("mean_absolute_error", "root_mean_squared_error", "interval_width")


@dataclass(frozen=True, slots=True)
class Classified:
    """A classifier's predictions and the true classes."""

    labels: tuple[Label, ...]
    """The contract's classes, then labels that are not in training, with the probability 0 in every row."""
    positive: int | None
    """Binary: the positive class's place in `labels`; else None."""
    y_true: Codes
    """Places in `labels`, shape (rows,)."""
    probabilities: Floats
    """Shape (rows, labels); a row sums to 1."""
    y_pred: Codes
    """Places in `labels`, shape (rows,)."""

    @property
    def ranked(self) -> tuple[int, ...]:
        """The labels whose probabilities are ranked: the positive one, or each against the rest."""
        return tuple(range(len(self.labels))) if self.positive is None else (self.positive,)


@dataclass(frozen=True, slots=True)
class Predicted:
    """A regression's predictions and the true values; both of shape (rows,)."""

    y_true: Floats
    y_pred: Floats


Outcome = Classified | Predicted


def outcome(contract: Contract, y_true: npt.NDArray[Any], scores: Scores, y_pred: Sequence[Label] = ()) -> Outcome:
    """Return a model's outcome from scores: values (rows,), or probabilities (rows, classes) with labels."""
    if contract.classes:
        return classified(contract, y_true, scores, y_pred)
    return Predicted(y_true.astype(np.float64), scores.astype(np.float64))


def classified(
    contract: Contract, y_true: npt.NDArray[Any], probabilities: Scores, y_pred: Sequence[Label]
) -> Classified:
    """Convert labels to positions, and probabilities of shape (rows, classes) to doubles that sum to 1."""
    known = pd.Index(list(contract.classes), dtype=object)
    places = known.get_indexer(pd.Index(list(y_pred), dtype=object))
    return classified_at(contract, y_true, probabilities, places)


def classified_at(
    contract: Contract,
    y_true: npt.NDArray[Any] | pd.Series,
    probabilities: Scores,
    places: npt.NDArray[np.integer[Any]],
) -> Classified:
    """Do the same for predicted classes that are places in the contract's."""
    known = pd.Index(list(contract.classes), dtype=object)
    numbers, distinct = pd.factorize(y_true)
    found = pd.Index(list(distinct), dtype=object)
    codes = known.get_indexer(found)
    strangers, unseen = pd.factorize(found[codes < 0], sort=True)
    codes[codes < 0] = len(known) + strangers
    double = probabilities.astype(np.float64)
    double /= double.sum(axis=1, keepdims=True)
    if len(unseen):
        double = np.pad(double, ((0, 0), (0, len(unseen))))
    positive = contract.classes.index(contract.positive) if contract.task == "binary" else None
    labels = (*contract.classes, *unseen.tolist())
    return Classified(labels, positive, codes[numbers], double, places.astype(np.intp))


def score(of: Outcome) -> dict[str, float]:
    """Return every metric of all rows; undefined ones, such as an area with only one class, are left out."""
    return statistics(of)(np.ones(len(of.y_true)))


def is_loss(name: str) -> bool:
    """Return whether less of a metric is better."""
    return name.endswith(("error", "loss", "score"))


def main_score(of: Outcome) -> float | None:
    """Return the metric that models are compared by; None if it is undefined."""
    return main_statistic(of)(np.ones(len(of.y_true)))


def main_statistic(of: Outcome) -> Callable[[Floats], float | None]:
    """Return a function from weights to the metric that models are compared by."""
    found = _RankingStatistics(of) if isinstance(of, Classified) else _RegressionStatistics(of)
    name = main_metric("binary" if isinstance(of, Classified) else "regression")
    return lambda weights: found(weights).get(name)


def statistics(of: Outcome) -> Statistics:
    """Return a function from weights to every metric, which can be sent to another process."""
    return _RegressionStatistics(of) if isinstance(of, Predicted) else _ClassStatistics(of)


class _ClassStatistics:
    def __init__(self, of: Classified) -> None:
        self._labels, self._ranking = _LabelStatistics(of), _RankingStatistics(of)

    def __call__(self, weights: Floats) -> dict[str, float]:
        return self._labels(weights) | self._ranking(weights)


class _RegressionStatistics:
    """The metrics of values."""

    def __init__(self, of: Predicted) -> None:
        errors = of.y_true - of.y_pred
        # Around the mean, so that the difference of two sums of squares keeps its digits.
        centred = of.y_true - of.y_true.mean()
        self._terms = np.stack([np.abs(errors), errors**2, centred, centred**2])

    def __call__(self, weights: Floats) -> dict[str, float]:
        absolute, squared, total, total_squared = self._terms @ weights / weights.sum()
        spread = total_squared - total**2
        found = {"mean_absolute_error": absolute, "root_mean_squared_error": np.sqrt(squared)}
        return found | ({"r2": 1 - squared / spread} if spread > 0 else {})


class _LabelStatistics:
    """The metrics of labels and of each row's probability."""

    def __init__(self, of: Classified) -> None:
        self._size, self._positive = len(of.labels), of.positive
        kind = np.int16 if self._size < _SMALL else np.int64
        self._cells = (of.y_true * self._size + of.y_pred).astype(kind)
        self._losses = np.empty((2, len(of.y_true)))
        self._losses[0] = log_loss(of)
        self._losses[1] = brier(of)

    def __call__(self, weights: Floats) -> dict[str, float]:
        size, positive, total = self._size, self._positive, weights.sum()
        loss, squares = self._losses @ weights / total
        confusion = np.bincount(self._cells, weights=weights, minlength=size * size).reshape(size, size)
        right, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        present, either = true > 0, true + predicted > 0
        found = {
            "accuracy": right.sum() / total,
            "balanced_accuracy": (right[present] / true[present]).mean(),
            "f1_macro": (2 * right[either] / (true + predicted)[either]).mean(),
            "log_loss": loss,
            "brier_score": squares,
        }
        if positive is not None:
            by = {"recall": true[positive], "precision": predicted[positive]}
            found |= {name: right[positive] / weight for name, weight in by.items() if weight > 0}
        return found


def log_loss(of: Classified) -> Floats:
    """Return the negative logarithm of each row's probability of the true class, which counts as at least 2.2e-16."""
    true: Floats = np.take_along_axis(of.probabilities, of.y_true[:, None], axis=1)[:, 0]
    epsilon = np.finfo(np.float64).eps
    np.log(np.clip(true, epsilon, 1 - epsilon, out=true), out=true)
    return np.negative(true, out=true)


def brier(of: Classified) -> Floats:
    """Return each row's squared error: of the positive class if binary, else summed over the classes."""
    if of.positive is not None:
        one: Floats = of.probabilities[:, of.positive] - (of.y_true == of.positive)
        return np.square(one, out=one)
    squares = np.empty(len(of.y_true))
    for first in range(0, len(squares), _CHUNK):
        part = slice(first, first + _CHUNK)
        right = of.y_true[part, None] == np.arange(len(of.labels))
        squares[part] = ((of.probabilities[part] - right) ** 2).sum(axis=1)
    return squares


class _RankingStatistics:
    """roc_auc and average_precision, averaged over the classes."""

    def __init__(self, of: Classified) -> None:
        self._curves = [_Curve(of.probabilities[:, label], of.y_true == label) for label in of.ranked]

    def __call__(self, weights: Floats) -> dict[str, float]:
        pairs = np.array([curve.areas(weights) for curve in self._curves]).T
        defined = zip(("roc_auc", "average_precision"), pairs, strict=True)
        return {name: float(np.nanmean(values)) for name, values in defined if not np.isnan(values).all()}


class _Curve:
    """Rows from the highest score to the lowest, equal scores together."""

    def __init__(self, scores: Floats, positive: npt.NDArray[np.bool_]) -> None:
        self._order: Codes | None = None  # as the rows are
        self._positive = positive
        if not (scores[1:] <= scores[:-1]).all():
            self._order = np.argsort(-scores, kind="stable")
            scores, self._positive = scores[self._order], positive[self._order]
        self._is_last = np.append(scores[1:] != scores[:-1], True)

    def areas(self, weights: Floats) -> tuple[float, float]:
        """Return the area under the ROC curve and the average precision; NaN where a side has no weight."""
        drawn = weights if self._order is None else weights[self._order]
        positives = float(drawn[self._positive].sum())
        negatives = float(drawn.sum()) - positives
        if not positives:
            return np.nan, np.nan
        area = precision = rows = hits = seen = found = 0.0
        for first in range(0, len(drawn), _CHUNK):
            part = slice(first, first + _CHUNK)
            last = self._is_last[part]
            above, true = rows + np.cumsum(drawn[part]), hits + np.cumsum(drawn[part] * self._positive[part])
            rows, hits = above[-1], true[-1]
            above, true = above[last], true[last]
            gained, misses = _differences(true, found), above - true
            precision += float(gained @ (true / np.maximum(above, 1e-300)))
            # A positive row ranks above the negatives after it; equal scores count half.
            area += float(gained @ (negatives - misses + _differences(misses, seen) / 2))
            found, seen = (true[-1], misses[-1]) if len(true) else (found, seen)
        return area / (positives * negatives) if negatives else np.nan, precision / positives


def _differences(sums: Floats, before: float) -> Floats:
    """Undo a cumulative sum that goes on from `before`; `np.diff` with a prefix takes three times as long."""
    steps = sums.copy()
    steps[1:] -= sums[:-1]
    steps[:1] -= before
    return steps


def rounded(found: dict[str, float]) -> dict[str, float]:
    """Round to `DIGITS`, so that the last bits of a sum don't count; leave out what isn't finite."""
    return {name: _round(name, float(value)) for name, value in sorted(found.items()) if np.isfinite(value)}


def _round(name: str, value: float) -> float:
    significant = float(f"{value:.{DIGITS}g}")
    return significant if any(scale in name for scale in _OF_THE_TARGETS_SCALE) else round(significant, DIGITS)
