"""The errors of out-of-fold predictions, from which the service computes prediction intervals and sets."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from service.contract import Contract
from service.coverage import Coverage
from stages.estimators.calibration import calibration_rows, fit_calibrator
from stages.estimators.out_of_fold import OutOfFold
from stages.params.params import Params
from stages.schema import Split
from stages.scores.metrics import Codes, Floats, Predicted

_POINTS = 500
"""Stored errors: so many at equal distances, and as many that get denser towards the largest."""
_DIGITS = 7
_SAME = 1e-9
_FEWEST_TIES, _TIED_SHARE = 4, 0.02
"""So many equal errors in a fold are ties."""
_APART = 0.05
"""Ties of different folds belong together if they are this near, as a share of the mean error."""
_RESOLUTION = 1e-6
"""The served file's probabilities may be lower by this much, which matters where many rows have the same one."""


def describe_coverage(
    predicted: OutOfFold, train: pd.DataFrame, contract: Contract, split: Split, params: Params
) -> Coverage | None:
    """Return the errors of the out-of-fold predictions; None if `evaluate.coverage` is null or there are none."""
    levels = params.evaluate.coverage_levels
    if not levels or not len(predicted.places):
        return None
    errors = find_errors(predicted, train, contract, params)
    if not np.isfinite(errors).all():
        return None
    ranks = choose_ranks(len(errors))
    return Coverage(
        levels=levels,
        rows=len(errors),
        units=count_units(train.iloc[predicted.places], split),
        ranks=tuple(ranks.tolist()),
        errors=tuple(round_up(pick(errors, predicted.folds, ranks))),
    )


def pick(errors: Floats, folds: Codes, ranks: Codes) -> Floats:
    """Return the errors of these ranks, from 1 for the smallest; shape (ranks,), ascending.

    If many rows of a fold have the same error, as with a model that knows few different rows, these ties are a little
    apart in other folds, and the full model's lie between them. An error amid them would leave out all of the full
    model's rows. So it is raised to the largest of those at the same place in each fold, plus the distance to the
    smallest, because two kinds of rows may change places.
    """
    order, most = np.argsort(errors, kind="stable"), _APART * float(errors.mean())
    chosen = order[ranks - 1]
    by_fold = {fold: np.sort(errors[folds == fold]) for fold in np.unique(folds).tolist()}
    found = [
        max(_level(errors[row], by_fold[fold], by_fold, most), errors[row])
        for row, fold in zip(chosen, folds[chosen].tolist(), strict=True)
    ]
    return np.maximum.accumulate(np.array(found))


def _level(error: float, own: Floats, by_fold: dict[int, Floats], most: float) -> float:
    """Return what `error`, one of `own`, is raised to; 0 if it is no tie, or ties are more than `most` apart."""
    first, last = _ties(error, own)
    if not _are_many(first, last, own):
        return 0.0
    middle = (first + last) / 2 / len(own)
    others = [(float(each[int(middle * len(each))]), each) for each in by_fold.values()]
    tied = [value for value, each in others if _are_many(*_ties(value, each), each)]
    apart = max(tied) - min(tied)
    return max(tied) + apart if apart <= most else 0.0


def _ties(error: float, ascending: Floats) -> tuple[int, int]:
    """Return the places of the first error that equals `error`, and behind the last one."""
    return (
        int(np.searchsorted(ascending, error * (1 - _SAME), side="left")),
        int(np.searchsorted(ascending, error * (1 + _SAME), side="right")),
    )


def _are_many(first: int, last: int, errors: Floats) -> bool:
    return last - first >= max(_FEWEST_TIES, _TIED_SHARE * len(errors))


def find_errors(predicted: OutOfFold, train: pd.DataFrame, contract: Contract, params: Params) -> Floats:
    """Return each prediction's distance from the value, or 1 minus the probability of the true class; shape (rows,).

    Probabilities are calibrated as those of the model. The calibrator for a fold is fitted on the other folds.
    """
    if not contract.classes:
        parts = [each for each in predicted.outcomes(train, contract) if isinstance(each, Predicted)]
        return np.concatenate([np.abs(each.y_true - each.y_pred) for each in parts])
    probabilities, y_true, weights = calibration_rows(predicted, train, contract, params)
    if params.calibration:
        for fold in np.unique(predicted.folds):
            here = predicted.folds == fold
            about = probabilities[~here], y_true[~here], weights[~here]
            probabilities[here] = fit_calibrator(params.calibration, *about)(probabilities[here])
    return np.asarray(1 - probabilities[np.arange(len(y_true)), y_true] + _RESOLUTION)


def count_units(rows: pd.DataFrame, split: Split) -> int:
    """Return the number of independent units of the rows: groups, keys, or rows."""
    if split.method == "time" or split.column not in rows:
        return len(rows)
    return int(rows[split.column].nunique())


def choose_ranks(rows: int) -> Codes:
    """Return which of the sorted errors to store, from 1 to `rows`, ascending; all if they are few.

    A level takes the next stored error above. So the probability is at most 1 / `_POINTS` too high, and for high
    levels at most some percent of the rest.
    """
    if rows <= 2 * _POINTS:
        return np.arange(1, rows + 1)
    even = np.ceil(np.linspace(rows / _POINTS, rows, _POINTS))
    dense = rows + 1 - np.floor(np.geomspace(1, rows, _POINTS))
    return np.unique(np.concatenate([even, dense]).astype(np.intp))


def round_up(values: Floats) -> Sequence[float]:
    """Round to `_DIGITS` significant digits, never down: a value in float32 may be a little further off."""
    return [float(f"{value * (1 + 10.0**-_DIGITS):.{_DIGITS}g}") for value in values.tolist()]
