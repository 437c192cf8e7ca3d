"""Count how predictions compare with the actual outcomes sent to POST /feedback, by version of the model."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from itertools import product
from typing import Any, Final

from service.feedback import Outcome, Prediction
from service.instruments.families import Specifications, VersionCounters

SCORE_BOUNDS: Final = tuple(number / 10 for number in range(1, 11))
OUTCOMES: Final = ("correct", "wrong", "measured")
"""`correct` and `wrong` for classes; `measured` for numbers, whose error is summed."""
COVERAGE_OUTCOMES: Final = ("inside", "outside")
COUNTERS: Final[Specifications] = {
    "feedback_rows": ("Predictions with a known outcome.", "outcome"),
    "feedback_absolute_error": ("Sum of the differences between predicted and true values.",),
    "feedback_coverage_rows": (
        "Predictions with a known outcome, which is inside or outside the interval or set at model_coverage_level.",
        "outcome",
    ),
    "feedback_score_rows": (
        "Predictions with a known outcome, by the upper bound of the positive class's probability.", "bin",
    ),
    "feedback_score_positives": ("Predictions whose outcome is the positive class.", "bin"),
}  # fmt: skip
_SERIES: Final = (
    *(("feedback_rows", outcome) for outcome in OUTCOMES),
    ("feedback_absolute_error",),
    *(("feedback_coverage_rows", outcome) for outcome in COVERAGE_OUTCOMES),
    *product(("feedback_score_rows", "feedback_score_positives"), map(str, SCORE_BOUNDS)),
)

Tally = dict[str, dict[tuple[str, ...], float]]
"""The amount to add to each series, by version. A series is the counter's name and the labels after the version."""


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Return the sums of outcomes; thread-safe."""
    found: Tally = {}
    for prediction, actual in outcomes:
        sums = found.setdefault(prediction.version.hex(), defaultdict(float))
        if prediction.cover is not None:
            sums["feedback_coverage_rows", "inside" if _covers(prediction, actual) else "outside"] += 1
        if isinstance(prediction.predicted, float):
            sums["feedback_rows", "measured"] += 1
            sums["feedback_absolute_error",] += abs(prediction.predicted - actual)  # type: ignore[operator]  # a number, as was checked
            continue
        right = prediction.predicted == actual
        sums["feedback_rows", "correct" if right else "wrong"] += 1
        if prediction.score is not None:
            bound = str(SCORE_BOUNDS[bisect_left(SCORE_BOUNDS[:-1], prediction.score)])
            sums["feedback_score_rows", bound] += 1
            sums["feedback_score_positives", bound] += right == prediction.positive
    return found


def _covers(prediction: Prediction, actual: Any) -> bool:
    """Return whether the outcome is in the interval or set of a prediction that has one."""
    predicted: Any = prediction.predicted
    if isinstance(prediction.cover, float):
        return bool(abs(predicted - actual) <= prediction.cover)
    return actual in (prediction.cover or ())


class FeedbackInstruments:
    """Counts outcomes by the version that predicted, if /metrics shows that version.

    Versions come only from signed ids, so no caller can create series.
    """

    def __init__(self, counters: VersionCounters) -> None:
        self._counters = counters
        self.shown: set[str] = set()
        """The versions that /metrics shows."""

    def show(self, versions: set[str]) -> None:
        """Begin the series of these versions, and count outcomes of no others."""
        for version, (name, *labels) in product(versions, _SERIES):
            self._counters.begin(name, version, *labels)
        self.shown = versions

    def count(self, found: Tally) -> None:
        """Add the sums that `tally` returned."""
        for version, sums in found.items():
            if version in self.shown:
                for (name, *labels), amount in sums.items():
                    self._counters.begin(name, version, *labels).inc(amount)
