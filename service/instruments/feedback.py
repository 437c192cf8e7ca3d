"""Count how predictions compare with the actual outcomes sent to POST /feedback, by version of the model."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from service.feedback.store import Outcome

SCORE_BOUNDS: Final = tuple(number / 10 for number in range(1, 11))
OUTCOMES: Final = ("correct", "wrong", "measured")
"""`correct` and `wrong` for classes; `measured` for numbers, whose error is summed."""
_SERIES: Final = (
    *(("feedback_rows", outcome) for outcome in OUTCOMES),
    ("feedback_absolute_error",),
    *product(("feedback_score_rows", "feedback_score_positives"), map(str, SCORE_BOUNDS)),
)

Tally = dict[str, dict[tuple[str, ...], float]]
"""The amount to add to each series, by version. A series is the counter's name and the labels after the version."""


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Return the sums of outcomes; thread-safe."""
    found: Tally = {}
    for prediction, actual in outcomes:
        sums = found.setdefault(prediction.version.hex(), defaultdict(float))
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


class FeedbackInstruments:
    """Counts outcomes by the version that predicted, if /metrics shows that version.

    Versions come only from signed ids, so no caller can create series.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(name, help_, ("version", *labels), registry=registry)

        self._counters = {
            "feedback_rows": counter("feedback_rows", "Predictions with a known outcome.", "outcome"),
            "feedback_absolute_error": counter(
                "feedback_absolute_error", "Sum of the differences between predicted and true values."
            ),
            "feedback_score_rows": counter(
                "feedback_score_rows",
                "Predictions with a known outcome, by the upper bound of the positive class's probability.",
                "bin",
            ),
            "feedback_score_positives": counter(
                "feedback_score_positives", "Predictions whose outcome is the positive class.", "bin"
            ),
        }
        self._shown: set[str] = set()

    def keep(self, versions: Collection[str]) -> None:
        """Begin the series of `versions` at zero, and remove those of other versions.

        Prometheus sees no increase in a series that begins at one.
        """
        for version in self._shown.difference(versions):
            for counter in self._counters.values():
                counter.remove_by_labels({"version": version})
        for version, (name, *labels) in product(versions, _SERIES):
            self._counters[name].labels(version, *labels)
        self._shown = {*versions}

    def count(self, found: Tally) -> None:
        """Add the sums that `tally` returned."""
        for version, sums in found.items():
            if version in self._shown:
                for (name, *labels), amount in sums.items():
                    self._counters[name].labels(version, *labels).inc(amount)
