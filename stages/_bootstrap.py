"""Confidence intervals of the metrics: test rows drawn anew, each drawing scored in linear time.

A drawing is told as how often each row was drawn. Whatever must be sorted is sorted once;
a drawing then costs some cumulative sums, not a call of scikit-learn for each metric. The
tests hold every statistic against scikit-learn's own with `sample_weight`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from stages import _metrics
from stages._metrics import Classified, Codes, Floats, Predicted

Statistics = Callable[[Floats], dict[str, float]]
_ENOUGH = 20
"""Drawings that must define a metric before its interval is told."""
_RANKING_BUDGET = 200_000_000
"""Rows x classes x drawings that may be ranked, about 2 s; with many classes the areas get fewer drawings."""


def intervals(outcome: Classified | Predicted, resamples: int, seed: int) -> dict[str, float]:
    """95 % percentile intervals (Efron & Tibshirani 1993, chapter 13) as `…_low` and `…_high`."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    # More threads would sum so little no faster, and spin in between: five times the CPU time.
    with threadpool_limits(1):
        for name, value in _drawings(_by_score(outcome), rng, resamples):
            found.setdefault(name, []).append(value)
    bounds = {}
    for name, values in found.items():
        if len(values) >= _ENOUGH:
            bounds[f"{name}_low"], bounds[f"{name}_high"] = map(float, np.quantile(values, [0.025, 0.975]))
    return bounds


def paired_interval(
    ours: Classified | Predicted, theirs: Classified | Predicted, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % percentile interval of the main metric's difference, ours less theirs, about the same rows.

    Each drawing weighs the rows for both alike. NaN where no drawing defines the metric.
    """
    rng = np.random.default_rng(seed)
    rows = len(ours.y_true)
    statistics = [weighted_main(each) for each in (ours, theirs)]
    differences = []
    for _ in range(resamples):
        weights = _drawing(rng, rows)
        pair = [each(weights) for each in statistics]
        if pair[0] is not None and pair[1] is not None:
            differences.append(pair[0] - pair[1])
    low, high = np.quantile(differences, [0.025, 0.975]) if differences else (np.nan, np.nan)
    return float(low), float(high)


def weighted_main(outcome: Classified | Predicted) -> Callable[[Floats], float | None]:
    """Give a function from weights of shape (rows,) to the main metric, None where it is not defined."""
    if isinstance(outcome, Classified):
        ranking = weighted_ranking(outcome)
        return lambda weights: ranking(weights).get("roc_auc")
    values = _weighted_values(outcome)
    return lambda weights: values(weights).get("r2")


def _drawing(rng: np.random.Generator, rows: int) -> Floats:
    """Draw `rows` of the rows with replacement: how often each was drawn."""
    return np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(np.float64)


def _by_score(outcome: Classified | Predicted) -> Classified | Predicted:
    """Put the rows in the order that a binary model ranks them in, so that each drawing goes through memory once."""
    if isinstance(outcome, Predicted) or outcome.positive is None:
        return outcome
    order = np.argsort(-outcome.probabilities[:, outcome.positive], kind="stable")
    return replace(
        outcome,
        y_true=outcome.y_true[order],
        probabilities=outcome.probabilities[order],
        y_pred=outcome.y_pred[order],
    )


def _drawings(outcome: Classified | Predicted, rng: np.random.Generator, resamples: int) -> Iterator[tuple[str, float]]:
    rows = len(outcome.y_true)
    cheap = weighted(outcome)
    ranks = len(outcome.ranked) if isinstance(outcome, Classified) else 0
    ranking = weighted_ranking(outcome) if isinstance(outcome, Classified) else None
    ranked = resamples if not ranks else max(min(resamples, _RANKING_BUDGET // (rows * ranks)), 2 * _ENOUGH)
    for drawing in range(resamples):
        weights = _drawing(rng, rows)
        yield from cheap(weights).items()
        if ranking and drawing < ranked:
            yield from ranking(weights).items()


def weighted(outcome: Classified | Predicted) -> Statistics:
    """Give a function from weights of shape (rows,) to the metrics that need no ranking."""
    return _weighted_classes(outcome) if isinstance(outcome, Classified) else _weighted_values(outcome)


def _weighted_values(outcome: Predicted) -> Statistics:
    errors = outcome.y_true - outcome.y_pred
    # Around the mean, so that the difference of two sums of squares keeps its digits.
    centred = outcome.y_true - outcome.y_true.mean()
    terms = np.stack([np.abs(errors), errors**2, centred, centred**2])

    def statistics(weights: Floats) -> dict[str, float]:
        absolute, squared, total, total_squared = terms @ weights / weights.sum()
        spread = total_squared - total**2
        found = {"mean_absolute_error": absolute, "root_mean_squared_error": np.sqrt(squared)}
        return found | ({"r2": 1 - squared / spread} if spread > 0 else {})

    return statistics


def _weighted_classes(outcome: Classified) -> Statistics:
    size = len(outcome.labels)
    cells = outcome.y_true * size + outcome.y_pred
    losses = np.stack([_metrics.log_loss(outcome), _metrics.brier(outcome)])

    def statistics(weights: Floats) -> dict[str, float]:
        total = weights.sum()
        log_loss, brier = losses @ weights / total
        confusion = np.bincount(cells, weights=weights, minlength=size * size).reshape(size, size)
        right, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        present, either = true > 0, true + predicted > 0
        return {
            "accuracy": right.sum() / total,
            "balanced_accuracy": (right[present] / true[present]).mean(),
            "f1_macro": (2 * right[either] / (true + predicted)[either]).mean(),
            "log_loss": log_loss,
            "brier_score": brier,
        }

    return statistics


def weighted_ranking(outcome: Classified) -> Statistics:
    """Give a function from weights of shape (rows,) to roc_auc and average_precision, averaged over the classes."""
    rankings = [_Ranking(outcome.probabilities[:, label], outcome.y_true == label) for label in outcome.ranked]

    def statistics(weights: Floats) -> dict[str, float]:
        curves = [ranking.areas(weights) for ranking in rankings]
        areas = [roc for roc, _ in curves if roc is not None]
        precisions = [precision for _, precision in curves if precision is not None]
        averages = {"roc_auc": areas, "average_precision": precisions}
        return {name: float(np.mean(values)) for name, values in averages.items() if values}

    return statistics


class _Ranking:
    """Rows from the highest score to the lowest, equal scores together."""

    def __init__(self, scores: Floats, positive: npt.NDArray[np.bool_]) -> None:
        self._order: Codes = np.argsort(-scores, kind="stable")
        falling = scores[self._order]
        self._positive = positive[self._order].astype(np.float64)
        self._ends: Codes = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)

    def areas(self, weights: Floats) -> tuple[float | None, float | None]:
        """Area under the ROC curve and average precision; None where a side has no weight."""
        drawn = weights[self._order]
        above = np.cumsum(drawn)[self._ends]
        hits = np.cumsum(drawn * self._positive)[self._ends]
        positives, negatives = hits[-1], above[-1] - hits[-1]
        if not positives:
            return None, None
        gained = np.diff(hits, prepend=0.0)
        precision = gained @ (hits / np.maximum(above, 1e-300)) / positives
        if not negatives:
            return None, float(precision)
        misses = above - hits
        # A positive row stands above the negatives that are still to come, and half above its equals.
        beaten = negatives - misses + np.diff(misses, prepend=0.0) / 2
        return float(gained @ beaten / (positives * negatives)), float(precision)
