"""The decision threshold of a binary model, chosen on out-of-fold predictions of training rows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stages.scores.metrics import Classified, Floats, Outcome

DEFAULT = 0.5
_DIGITS = 10

Flags = npt.NDArray[np.bool_]


def choose(outcomes: Sequence[Outcome], costs: tuple[float, float] | None) -> float:
    """Return the best threshold for all folds' rows together.

    `costs` are those of a false positive and a false negative; None means by balanced accuracy. Without folds it is
    the one of perfectly calibrated probabilities (Elkan 2001), or 0.5 if there are no costs.
    """
    parts = [each for each in outcomes if isinstance(each, Classified)]
    if not parts:
        return costs[0] / sum(costs) if costs else DEFAULT
    probabilities = np.concatenate([each.probabilities[:, each.positive] for each in parts])
    positive = np.concatenate([each.y_true == each.positive for each in parts])
    return cheapest(probabilities, positive, costs) if costs else best(probabilities, positive)


def best(probabilities: Floats, positive: Flags) -> float:
    """Return the threshold above which to predict positive for the best balanced accuracy.

    It lies half way between two scores; of equally good ones it is the nearest to 0.5. It is
    0.5 if there is only one class, or if no threshold is better than always predicting one class.
    """
    if positive.all() or not positive.any():
        return DEFAULT
    candidates, recalls, false_alarms = _steps(probabilities, positive)
    gains = (recalls / positive.sum() - false_alarms / (~positive).sum())[1:-1]
    return _nearest(candidates[1:-1], gains) if len(gains) and gains.max() > 0 else DEFAULT


def cheapest(probabilities: Floats, positive: Flags, costs: tuple[float, float]) -> float:
    """Return the threshold that costs least; of equally cheap ones the nearest to 0.5.

    `costs` are those of a false positive and a false negative.

    It is 1 if never predicting the positive class is cheapest, and 0 if always predicting it is.
    """
    false_positive, false_negative = costs
    candidates, found, false_alarms = _steps(probabilities, positive)
    return _nearest(candidates, false_negative * found - false_positive * false_alarms)


def _steps(probabilities: Floats, positive: Flags) -> tuple[Floats, Floats, Floats]:
    """Return the thresholds between different scores, from 1 down to 0, and the positives and negatives above each."""
    order = np.argsort(-probabilities, kind="stable")
    falling, hits = probabilities[order], positive[order]
    ends = np.flatnonzero(falling[1:] != falling[:-1])
    candidates = np.concatenate([[1.0], (falling[ends] + falling[ends + 1]) / 2, [0.0]])
    # A score of 0 is not above the threshold 0.
    above = [
        np.concatenate([[0], np.cumsum(each)[ends], [each[falling > 0].sum()]]).astype(np.float64)
        for each in (hits, ~hits)
    ]
    return candidates, above[0], above[1]


def _nearest(candidates: Floats, gains: Floats) -> float:
    # Gains that differ only in the last bits are equal.
    equal = candidates[gains >= gains.max() - 1e-12 * max(1.0, float(np.abs(gains).max()))]
    return round(float(equal[np.abs(equal - DEFAULT).argmin()]), _DIGITS)
