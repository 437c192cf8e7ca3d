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
    codes = known.get_indexer(pd.Index(y_true, dtype=object))
    strangers, unseen = pd.factorize(pd.Index(y_true[codes < 0], dtype=object), sort=True)
    codes[codes < 0] = len(known) + strangers
    double = probabilities.astype(np.float64)
    padded = np.pad(double / double.sum(axis=1, keepdims=True), ((0, 0), (0, len(unseen))))
    positive = contract.classes.index(contract.positive) if contract.task == "binary" else None
    labels = (*contract.classes, *unseen.tolist())
    return Classified(labels, positive, codes, padded, known.get_indexer(pd.Index(list(y_pred), dtype=object)))


def score(of: Outcome) -> dict[str, float]:
    """Return every metric of all rows; undefined ones, such as an area with only one class, are left out."""
    return statistics(of)(np.ones(len(of.y_true)))


def main_score(of: Outcome) -> float | None:
    """Return the metric that models are compared by; None if it is undefined."""
    return main_statistic(of)(np.ones(len(of.y_true)))


def main_statistic(of: Outcome) -> Callable[[Floats], float | None]:
    """Return a function from weights to the metric that models are compared by."""
    found = _ranking_statistics(of) if isinstance(of, Classified) else _regression_statistics(of)
    name = main_metric("binary" if isinstance(of, Classified) else "regression")
    return lambda weights: found(weights).get(name)


def statistics(of: Outcome) -> Statistics:
    """Return a function from weights to every metric."""
    if isinstance(of, Predicted):
        return _regression_statistics(of)
    labels, ranking = _label_statistics(of), _ranking_statistics(of)
    return lambda weights: labels(weights) | ranking(weights)


def _regression_statistics(of: Predicted) -> Statistics:
    errors = of.y_true - of.y_pred
    # Around the mean, so that the difference of two sums of squares keeps its digits.
    centred = of.y_true - of.y_true.mean()
    terms = np.stack([np.abs(errors), errors**2, centred, centred**2])

    def compute(weights: Floats) -> dict[str, float]:
        absolute, squared, total, total_squared = terms @ weights / weights.sum()
        spread = total_squared - total**2
        found = {"mean_absolute_error": absolute, "root_mean_squared_error": np.sqrt(squared)}
        return found | ({"r2": 1 - squared / spread} if spread > 0 else {})

    return compute


def _label_statistics(of: Classified) -> Statistics:
    size = len(of.labels)
    cells = of.y_true * size + of.y_pred
    losses = np.stack([log_loss(of), brier(of)])

    def compute(weights: Floats) -> dict[str, float]:
        total = weights.sum()
        loss, squares = losses @ weights / total
        confusion = np.bincount(cells, weights=weights, minlength=size * size).reshape(size, size)
        right, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        present, either = true > 0, true + predicted > 0
        found = {
            "accuracy": right.sum() / total,
            "balanced_accuracy": (right[present] / true[present]).mean(),
            "f1_macro": (2 * right[either] / (true + predicted)[either]).mean(),
            "log_loss": loss,
            "brier_score": squares,
        }
        if of.positive is not None:
            by = {"recall": true[of.positive], "precision": predicted[of.positive]}
            found |= {name: right[of.positive] / weight for name, weight in by.items() if weight > 0}
        return found

    return compute


def log_loss(of: Classified) -> Floats:
    """Return the negative logarithm of each row's probability of the true class, which counts as at least 2.2e-16."""
    true = of.probabilities[np.arange(len(of.y_true)), of.y_true]
    epsilon = np.finfo(np.float64).eps
    losses: Floats = -np.log(np.clip(true, epsilon, 1 - epsilon))
    return losses


def brier(of: Classified) -> Floats:
    """Return each row's squared error: of the positive class if binary, else summed over the classes."""
    right = of.y_true[:, None] == np.arange(len(of.labels))
    squares = (of.probabilities - right) ** 2
    one: Floats = squares.sum(axis=1) if of.positive is None else squares[:, of.positive]
    return one


def _ranking_statistics(of: Classified) -> Statistics:
    """Return a function from weights to roc_auc and average_precision, averaged over the classes."""
    curves = [_Curve(of.probabilities[:, label], of.y_true == label) for label in of.ranked]

    def compute(weights: Floats) -> dict[str, float]:
        pairs = np.array([curve.areas(weights) for curve in curves]).T
        defined = zip(("roc_auc", "average_precision"), pairs, strict=True)
        return {name: float(np.nanmean(values)) for name, values in defined if not np.isnan(values).all()}

    return compute


class _Curve:
    """Rows from the highest score to the lowest, equal scores together."""

    def __init__(self, scores: Floats, positive: npt.NDArray[np.bool_]) -> None:
        self._order: Codes = np.argsort(-scores, kind="stable")
        falling = scores[self._order]
        self._positive = positive[self._order].astype(np.float64)
        self._ends: Codes = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)

    def areas(self, weights: Floats) -> tuple[float, float]:
        """Return the area under the ROC curve and the average precision; NaN where a side has no weight."""
        drawn = weights[self._order]
        above = np.cumsum(drawn)[self._ends]
        hits = np.cumsum(drawn * self._positive)[self._ends]
        positives, negatives = hits[-1], above[-1] - hits[-1]
        if not positives:
            return np.nan, np.nan
        gained = _differences(hits)
        precision = float(gained @ (hits / np.maximum(above, 1e-300)) / positives)
        if not negatives:
            return np.nan, precision
        misses = above - hits
        # A positive row ranks above the negatives after it; equal scores count half.
        beaten = negatives - misses + _differences(misses) / 2
        return float(gained @ beaten / (positives * negatives)), precision


def _differences(sums: Floats) -> Floats:
    """Undo a cumulative sum; `np.diff` with a prefix takes three times as long."""
    steps = sums.copy()
    steps[1:] -= sums[:-1]
    return steps


def rounded(found: dict[str, float]) -> dict[str, float]:
    """Round to `DIGITS`, so that the last bits of a sum don't count; leave out what isn't finite."""
    return {name: _round(name, float(value)) for name, value in sorted(found.items()) if np.isfinite(value)}


def _round(name: str, value: float) -> float:
    significant = float(f"{value:.{DIGITS}g}")
    return significant if any(scale in name for scale in _OF_THE_TARGETS_SCALE) else round(significant, DIGITS)
