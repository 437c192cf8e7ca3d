"""Confidence intervals of the metrics: the jackknife over independent units, each left out in turn.

Leaving a unit out gives its rows the weight 0. Whatever must be sorted is sorted once; a
weighting then costs some cumulative sums, not a call of scikit-learn for each metric. The
tests hold every statistic against scikit-learn's own with `sample_weight`, and the intervals
against 1,000 simulated tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from stages.scores import metrics
from stages.scores.metrics import Classified, Codes, Floats, Predicted
from stages.scores.units import Units

Statistics = Callable[[Floats], dict[str, float]]
Scale = tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]
"""A scale on which a metric is about normal, and the way back."""
_MOST_BLOCKS = 200
"""More units than this are left out in random blocks of units."""
_FEWEST_BLOCKS = 30
_BUDGET = 200_000_000
"""Rows x classes x blocks that may be ranked, about 2 s; with many classes there are fewer blocks."""


def _logit(values: Floats) -> Floats:
    odds: Floats = np.log(values) - np.log1p(-values)
    return odds


def _logistic(values: Floats) -> Floats:
    shares: Floats = 1 / (1 + np.exp(-values))
    return shares


_IDENTITY: Scale = (np.asarray, np.asarray)
_SHARES = ("roc_auc", "average_precision", "accuracy", "balanced_accuracy", "f1_macro", "recall", "precision")
_ERRORS = ("log_loss", "brier_score", "mean_absolute_error", "root_mean_squared_error")
_SCALES: dict[str, Scale] = {
    **dict.fromkeys(_SHARES, (_logit, _logistic)),
    **dict.fromkeys(_ERRORS, (np.log, np.exp)),
    "r2": (lambda values: -np.log1p(-values), lambda values: -np.expm1(-values)),
}
_LIMITS = dict.fromkeys(_SHARES, (0.0, 1.0)) | dict.fromkeys(_ERRORS, (0.0, np.inf)) | {"r2": (-np.inf, 1.0)}
_ROUNDING = 1e-12
_ALL_RIGHT = 0.025
"""A share that is 1 in each of n units is above the n-th root of this (Clopper & Pearson 1934)."""


def intervals(outcome: Classified | Predicted, units: Units, seed: int) -> dict[str, float]:
    """Return 95 % intervals as `…_low` and `…_high`; none where the units are too few.

    See `jackknife` for the method. Shares and areas are taken as logits, errors and 1 - r2 as
    logarithms. A metric that is not defined without some unit has no interval.
    """
    if units.too_few:
        return {}
    bounds = {}
    for name, (value, left_out) in _leave_out(outcome, units, seed).items():
        low, high = np.clip(jackknife(value, left_out, _SCALES[name]), *_limits(name, outcome))
        if name in _SHARES and low > 1 - _ROUNDING:
            low = _ALL_RIGHT ** (1 / units.count)
        bounds[f"{name}_low"], bounds[f"{name}_high"] = float(low), float(high)
    return bounds


def _limits(name: str, outcome: Classified | Predicted) -> tuple[float, float]:
    if name == "brier_score" and isinstance(outcome, Classified):
        return 0.0, 2.0 if outcome.positive is None else 1.0
    return _LIMITS[name]


def paired_interval(
    ours: Classified | Predicted, theirs: Classified | Predicted, units: Units, seed: int
) -> tuple[float, float]:
    """Return the 95 % interval of the main metric's difference, ours less theirs, about the same rows.

    Each unit is left out for both at once. NaN where the units are too few, or one of them
    alone defines the metric.
    """
    if units.too_few:
        return np.nan, np.nan
    statistics = weighted_main(ours), weighted_main(theirs)
    with threadpool_limits(1):
        pairs = [[each(kept) for each in statistics] for kept in _weights(_blocks(units, len(ours.y_true), seed))]
    differences = np.subtract(*np.asarray(pairs, dtype=np.float64).T)
    return jackknife(float(differences[0]), differences[1:], _IDENTITY)


def jackknife(value: float, left_out: Floats, scale: Scale) -> tuple[float, float]:
    """Return the 95 % interval about `value` from the values without each unit, shape (units,).

    The delete-one jackknife (Efron & Tibshirani 1993, chapter 11) over units; of blocks of
    units it is the delete-a-group jackknife (Kott 2001). The quantile is Student's, with
    Satterthwaite's (1946) degrees of freedom: units that matter more than others are worth fewer.
    NaN if one of the values is NaN.
    """
    to, back = scale
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, values = to(np.asarray(value)), to(left_out)
    if not (np.isfinite(values).all() and np.isfinite(centre)):  # such as the area without the one unit in error
        (to, back), centre, values = _IDENTITY, np.asarray(value), left_out
    squares = (values - values.mean()) ** 2
    total = squares.sum()
    if np.isnan(total) or total <= 0:
        return (np.nan, np.nan) if np.isnan(total) else (value, value)
    freedom = min(len(values) - 1, 3 * total**2 / (squares**2).sum())
    half = stdtrit(freedom, 0.975) * np.sqrt((len(values) - 1) / len(values) * total)
    low, high = back(centre - half), back(centre + half)
    return float(low), float(high)


def _leave_out(outcome: Classified | Predicted, units: Units, seed: int) -> dict[str, tuple[float, Floats]]:
    """Give each metric's value, and its values without each block of units."""
    blocks = _blocks(units, len(outcome.y_true) * max(1, _rankings(outcome)), seed)
    outcome, blocks = _by_score(outcome, blocks)
    statistics = weighted(outcome)
    ranking = weighted_ranking(outcome) if isinstance(outcome, Classified) else lambda _: {}
    # More threads would sum so little no faster, and spin in between: five times the CPU time.
    with threadpool_limits(1):
        whole, *parts = [statistics(weights) | ranking(weights) for weights in _weights(blocks)]
    found = {name: np.array([part.get(name, np.nan) for part in parts]) for name in whole}
    return {name: (whole[name], values) for name, values in found.items() if np.isfinite(values).all()}


def _rankings(outcome: Classified | Predicted) -> int:
    return len(outcome.ranked) if isinstance(outcome, Classified) else 0


def _blocks(units: Units, cost: int, seed: int) -> Codes:
    """Give each row's block: its unit, or one of so many random blocks of units as `cost` allows."""
    most = min(max(_BUDGET // cost, _FEWEST_BLOCKS), _MOST_BLOCKS)
    if units.count <= most:
        return units.codes
    blocks = np.random.default_rng(seed).permutation(units.count) % most
    return blocks[units.codes]


def _weights(blocks: Codes) -> Iterator[Floats]:
    """Give the weights of all rows, then those without each block, shape (rows,)."""
    yield np.ones(len(blocks))
    for block in range(int(blocks.max()) + 1):
        yield (blocks != block).astype(np.float64)


def weighted_main(outcome: Classified | Predicted) -> Callable[[Floats], float | None]:
    """Give a function from weights of shape (rows,) to the main metric, None where it is not defined."""
    if isinstance(outcome, Classified):
        ranking = weighted_ranking(outcome)
        return lambda weights: ranking(weights).get("roc_auc")
    values = _weighted_values(outcome)
    return lambda weights: values(weights).get("r2")


def _by_score(outcome: Classified | Predicted, blocks: Codes) -> tuple[Classified | Predicted, Codes]:
    """Put the rows in the order that a binary model ranks them in, so that each pass goes through memory once."""
    if isinstance(outcome, Predicted) or outcome.positive is None:
        return outcome, blocks
    order = np.argsort(-outcome.probabilities[:, outcome.positive], kind="stable")
    sorted_ = replace(
        outcome,
        y_true=outcome.y_true[order],
        probabilities=outcome.probabilities[order],
        y_pred=outcome.y_pred[order],
    )
    return sorted_, blocks[order]


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
    losses = np.stack([metrics.log_loss(outcome), metrics.brier(outcome)])

    def statistics(weights: Floats) -> dict[str, float]:
        total = weights.sum()
        log_loss, brier = losses @ weights / total
        confusion = np.bincount(cells, weights=weights, minlength=size * size).reshape(size, size)
        right, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        present, either = true > 0, true + predicted > 0
        found = {
            "accuracy": right.sum() / total,
            "balanced_accuracy": (right[present] / true[present]).mean(),
            "f1_macro": (2 * right[either] / (true + predicted)[either]).mean(),
            "log_loss": log_loss,
            "brier_score": brier,
        }
        if outcome.positive is not None:
            of = {"recall": true[outcome.positive], "precision": predicted[outcome.positive]}
            found |= {name: right[outcome.positive] / weight for name, weight in of.items() if weight > 0}
        return found

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
        gained = _steps(hits)
        precision = gained @ (hits / np.maximum(above, 1e-300)) / positives
        if not negatives:
            return None, float(precision)
        misses = above - hits
        # A positive row stands above the negatives that are still to come, and half above its equals.
        beaten = negatives - misses + _steps(misses) / 2
        return float(gained @ beaten / (positives * negatives)), float(precision)


def _steps(sums: Floats) -> Floats:
    """Undo a cumulative sum; `np.diff` with a prefix takes three times as long."""
    steps = sums.copy()
    steps[1:] -= sums[:-1]
    return steps
