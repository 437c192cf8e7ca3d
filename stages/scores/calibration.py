"""How well probabilities match frequencies: the reliability curve and the expected calibration error."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.scores.metrics import Classified, Codes, Floats
from stages.scores.units import Units, compress

BINS = 10


@dataclass(frozen=True, slots=True)
class Reliability:
    """The means of predicted and true values in bins with about equal numbers of rows; shapes (bins,)."""

    places: Codes
    """The bin of each row, shape (rows,)."""
    rows: Floats
    predicted: Floats
    actual: Floats


def reliability(predicted: Floats, actual: Floats) -> Reliability:
    """Cut the rows at the quantiles of `predicted`; rows with equal predictions stay together."""
    edges = np.unique(np.quantile(predicted, np.arange(1, BINS) / BINS))
    places = compress(np.searchsorted(edges, predicted, side="left"))
    rows = np.bincount(places).astype(np.float64)
    return Reliability(places, rows, np.bincount(places, predicted) / rows, np.bincount(places, actual) / rows)


def calibration_metrics(of: Classified, units: Units) -> dict[str, float]:
    """Return `expected_calibration_error`, and `…_by_chance` if there are enough units.

    The expected calibration error is the mean over bins, weighted by their rows, of the absolute difference between
    mean probability and frequency: of the positive class (binary), or of the most probable class (Guo et al. 2017,
    "On calibration of modern neural networks"). Bins have about equal numbers of rows (Nguyen & O'Connor 2015), so
    that none rests on a few rows. It is between 0 and 1; lower is better.

    A sum of absolute values is above 0 even for a perfect model, so an interval about it would be too high, and there
    is none. `…_by_chance` is what a perfectly calibrated model would have on average on these rows: the mean absolute
    value of a normal error, whose variance in each bin is counted over the independent units.
    """
    predicted, actual = _of_one_class(of)
    bins = reliability(predicted, actual)
    shares, differences = bins.rows / len(predicted), bins.actual - bins.predicted
    found = {"expected_calibration_error": float(shares @ np.abs(differences))}
    if units.too_few:
        return found
    residuals = actual - predicted - differences[bins.places]
    errors = np.sqrt([_squares(residuals, bins.places == place, units) for place in range(len(bins.rows))]) / bins.rows
    return found | {"expected_calibration_error_by_chance": float(shares @ errors * np.sqrt(2 / np.pi))}


def _squares(residuals: Floats, chosen: npt.NDArray[np.bool_], units: Units) -> float:
    """Return the sum over units of the square of the sum of its chosen rows' residuals."""
    sums = np.bincount(units.codes[chosen], residuals[chosen], units.count)
    return float((sums**2).sum())


def _of_one_class(of: Classified) -> tuple[Floats, Floats]:
    """Return the probability of one class in each row, and 1 where it is the true one, else 0."""
    if of.positive is not None:
        return of.probabilities[:, of.positive], (of.y_true == of.positive).astype(np.float64)
    likeliest = of.probabilities.argmax(axis=1)
    return of.probabilities.max(axis=1), (of.y_true == likeliest).astype(np.float64)
