"""Confidence intervals of the metrics: the jackknife over independent units, each left out in turn.

Leaving a unit out gives its rows the weight 0. The tests count how often the intervals hold the
truth of simulated tables.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, stdtrit
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from stages.partitions.executors import Spread
from stages.partitions.pieces import map_pieces
from stages.progress import track
from stages.scores.metrics import Classified, Codes, Floats, Outcome, Predicted, main_statistic, statistics
from stages.scores.units import Units

Scale = tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]
"""The transformation to a scale on which a metric is about normal, and its inverse."""
_MOST_BLOCKS = 200
"""If there are more units, random blocks of units are left out instead of single ones."""
_FEWEST_BLOCKS = 30
_BUDGET = 200_000_000
"""Rows x classes x blocks that may be ranked, about 2 s; with many classes there are fewer blocks."""

_IDENTITY: Scale = (np.asarray, np.asarray)
_SHARES = ("roc_auc", "average_precision", "accuracy", "balanced_accuracy", "f1_macro", "recall", "precision")
_ERRORS = ("log_loss", "brier_score", "mean_absolute_error", "root_mean_squared_error")
_SCALES: dict[str, Scale] = {
    **dict.fromkeys(_SHARES, (logit, expit)),
    **dict.fromkeys(_ERRORS, (np.log, np.exp)),
    "r2": (lambda values: -np.log1p(-values), lambda values: -np.expm1(-values)),
}
_LIMITS = dict.fromkeys(_SHARES, (0.0, 1.0)) | dict.fromkeys(_ERRORS, (0.0, np.inf)) | {"r2": (-np.inf, 1.0)}
_ROUNDING = 1e-12
_NO_BLOCK = -1
_ALL_RIGHT = 0.025
"""A share that is 1 in each of n units is above the n-th root of this (Clopper & Pearson 1934)."""

Value = TypeVar("Value")


def intervals(outcome: Outcome, units: Units, seed: int, spread: Spread | None = None) -> dict[str, float]:
    """Return 95 % intervals as `…_low` and `…_high`; none if there are too few units.

    See `jackknife` for the method. Shares and areas are transformed to logits, errors and
    1 - r2 to logarithms. A metric that some unit's absence makes undefined has no interval.
    """
    if units.too_few:
        return {}
    bounds = {}
    for name, (value, left_out) in _leave_out(outcome, units, seed, spread or Spread()).items():
        low, high = np.clip(jackknife(value, left_out, _SCALES[name]), *_limits(name, outcome))
        if name in _SHARES and low > 1 - _ROUNDING:
            low = _ALL_RIGHT ** (1 / units.count)
        bounds[f"{name}_low"], bounds[f"{name}_high"] = float(low), float(high)
    return bounds


def _limits(name: str, outcome: Outcome) -> tuple[float, float]:
    if name == "brier_score" and isinstance(outcome, Classified):
        return 0.0, 2.0 if outcome.positive is None else 1.0
    return _LIMITS[name]


def paired_interval(ours: Outcome, theirs: Outcome, units: Units, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the main metric's difference, ours minus theirs, on the same rows.

    Each unit is left out for both at once. NaN if there are too few units, or if the metric is
    undefined without one of them.
    """
    if units.too_few:
        return np.nan, np.nan
    pairs = _compute_pairs(main_statistic(ours), main_statistic(theirs), _blocks(units, len(ours.y_true), seed))
    differences = np.subtract(*np.asarray(pairs, dtype=np.float64).T)
    return jackknife(float(differences[0]), differences[1:], _IDENTITY)


def paired_differences(ours: Outcome, theirs: Outcome, units: Units, seed: int) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric's difference, ours minus theirs, as `paired_interval` does."""
    if units.too_few:
        return {}
    drawn = _compute_pairs(statistics(ours), statistics(theirs), _blocks(units, len(ours.y_true), seed))
    found = {}
    for name in set(drawn[0][0]) & set(drawn[0][1]):
        pairs = [[each.get(name, np.nan) for each in pair] for pair in drawn]
        differences = np.subtract(*np.asarray(pairs, dtype=np.float64).T)
        found[name] = jackknife(float(differences[0]), differences[1:], _IDENTITY)
    return found


def _compute_pairs(
    ours: Callable[[Floats], Value], theirs: Callable[[Floats], Value], blocks: Codes
) -> list[tuple[Value, Value]]:
    """Return what both compute from all rows, then from those without each block."""
    rows, others = _Rows(ours, blocks), _Rows(theirs, blocks)
    places = range(_NO_BLOCK, int(blocks.max()) + 1)
    return [(_compute_without(rows, block), _compute_without(others, block)) for block in places]


def mean_interval(values: Floats, units: Units, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values`, shape (rows,), by leaving out each unit in turn."""
    blocks = _blocks(units, len(values), seed)
    left = (values.sum() - np.bincount(blocks, values)) / (len(values) - np.bincount(blocks))
    return jackknife(float(values.mean()), left, _IDENTITY)


def share_interval(flags: npt.NDArray[np.bool_], units: Units, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the share of `flags`, shape (rows,), that are true, as of a metric that is a share.

    If all or none are, it reaches as far as the units allow (Clopper & Pearson 1934).
    """
    share = float(flags.mean())
    extreme = _ALL_RIGHT ** (1 / units.count)
    if share in {0, 1}:
        return (extreme, 1.0) if share else (0.0, 1 - extreme)
    blocks = _blocks(units, len(flags), seed)
    left = (flags.sum() - np.bincount(blocks, flags)) / (len(flags) - np.bincount(blocks))
    low, high = jackknife(share, left, _SCALES["accuracy"])
    return max(low, 0.0), min(high, 1.0)


def jackknife(value: float, left_out: Floats, scale: Scale) -> tuple[float, float]:
    """Return the 95 % interval about `value` from the values without each unit, shape (units,).

    The delete-one jackknife (Efron & Tibshirani 1993, chapter 11) over units; of blocks of
    units it is the delete-a-group jackknife (Kott 2001). The quantile is Student's, with
    Satterthwaite's (1946) degrees of freedom: the more the units differ in influence, the fewer there are.
    NaN if one of the values is NaN.
    """
    to, back = scale
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, values = to(np.asarray(value)), to(left_out)
    if not (np.isfinite(values).all() and np.isfinite(centre)):  # such as an area of 1, whose logit is infinite
        (to, back), centre, values = _IDENTITY, np.asarray(value), left_out
    squares = (values - values.mean()) ** 2
    total = squares.sum()
    if np.isnan(total) or total <= 0:
        return (np.nan, np.nan) if np.isnan(total) else (value, value)
    freedom = min(len(values) - 1, 3 * total**2 / (squares**2).sum())
    half = stdtrit(freedom, 0.975) * np.sqrt((len(values) - 1) / len(values) * total)
    low, high = back(centre - half), back(centre + half)
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class _Rows(Generic[Value]):
    """What is computed from weights of the rows, and the block of each."""

    compute: Callable[[Floats], Value]
    blocks: Codes | npt.NDArray[np.int16]


def _leave_out(outcome: Outcome, units: Units, seed: int, spread: Spread) -> dict[str, tuple[float, Floats]]:
    """Return each metric's value, and its values without each block of units."""
    rankings = len(outcome.ranked) if isinstance(outcome, Classified) else 1
    blocks = _blocks(units, len(outcome.y_true) * rankings, seed).astype(np.int16)
    count = int(blocks.max()) + 1
    outcome, blocks = _by_score(outcome, blocks)
    rows = _Rows(statistics(outcome), blocks)
    del outcome, blocks  # sorted copies
    whole, *parts = map_pieces(_compute_without, rows, track(range(_NO_BLOCK, count), count + 1, "part"), spread)
    found = {name: np.array([part.get(name, np.nan) for part in parts]) for name in whole}
    return {name: (whole[name], values) for name, values in found.items() if np.isfinite(values).all()}


def _compute_without(rows: _Rows[Value], block: int) -> Value:
    """Return what is computed of the rows without those of a block."""
    # More threads would not be faster for such short sums, but take five times the CPU time.
    with _thread_pools().limit(limits=1):
        return rows.compute((rows.blocks != block).astype(np.float64))


@functools.cache
def _thread_pools() -> ThreadpoolController:
    """Return what limits threads; to find the libraries takes longer than the sums of a block."""
    return ThreadpoolController()


def _blocks(units: Units, cost: int, seed: int) -> Codes:
    """Return each row's block, shape (rows,): its unit, or a random block of units; `cost` limits their number."""
    most = min(max(_BUDGET // cost, _FEWEST_BLOCKS), _MOST_BLOCKS)
    if units.count <= most:
        return units.codes
    blocks = np.random.default_rng(seed).permutation(units.count) % most
    return blocks[units.codes]


def _by_score(outcome: Outcome, blocks: npt.NDArray[np.int16]) -> tuple[Outcome, npt.NDArray[np.int16]]:
    """Sort the rows by a binary model's score, so that each pass reads memory in order."""
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
