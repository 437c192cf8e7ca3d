"""What turned out to be true of predictions, counted."""

from bisect import bisect_left
from typing import Final

from service.contract import Label
from service.counting.counters import Counters
from service.counting.families import Family
from service.feedback.prediction_ids import Prediction

SCORE_BOUNDS: Final = tuple(number / 10 for number in range(1, 11))
OUTCOMES: Final = ("correct", "wrong", "measured")
"""Of a class: whether it was right. Of a number: its error is measured."""


class ContradictionError(Exception):
    """Another truth came for this prediction before; says which."""


class FeedbackMetrics:
    """Counts truths by the version that predicted, if it is one of those served last; in the event loop's thread.

    Versions come from signed ids alone, so that no caller can make series.
    """

    def __init__(self, counters: Counters, version: str) -> None:
        self._counters = counters
        self.serve(version)

    def serve(self, version: str) -> None:
        """Begin the version's series, at zero: Prometheus sees no increase in a series that begins at one."""
        self._served = version, self._counters.block_of(version, *_families(version))

    def count(self, prediction: Prediction, actual: Label | float) -> None:
        """Count one truth."""
        version = prediction.version.hex()
        block = self._served[1] if version == self._served[0] else self._counters.block_of(version, *_families(version))
        if block is None:
            return
        if isinstance(prediction.predicted, float):
            block.add(block.index("feedback_rows", version, "measured"))
            block.add(block.index("feedback_absolute_error", version), abs(prediction.predicted - actual))  # type: ignore[operator]  # a number, as was checked
            return
        right = prediction.predicted == actual
        block.add(block.index("feedback_rows", version, "correct" if right else "wrong"))
        if prediction.score is not None:
            place = bisect_left(SCORE_BOUNDS[:-1], prediction.score)
            names = [version, str(SCORE_BOUNDS[place])]
            block.add(block.index("feedback_score_rows", *names))
            block.add(block.index("feedback_score_positives", *names), float(right == prediction.positive))


def _families(version: str) -> list[Family]:
    in_bins = tuple((version, str(bound)) for bound in SCORE_BOUNDS)
    return [
        Family(
            "feedback_rows",
            "Predictions whose truth came back.",
            labels=("version", "outcome"),
            series=tuple((version, outcome) for outcome in OUTCOMES),
        ),
        Family(
            "feedback_absolute_error",
            "Sum of the differences between predicted and true values.",
            labels=("version",),
            series=((version,),),
        ),
        Family(
            "feedback_score_rows",
            "Predictions whose truth came back, by the upper bound of the positive class's probability.",
            labels=("version", "bin"),
            series=in_bins,
        ),
        Family(
            "feedback_score_positives",
            "Those of them whose truth is the positive class.",
            labels=("version", "bin"),
            series=in_bins,
        ),
    ]
