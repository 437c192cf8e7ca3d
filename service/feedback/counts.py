"""What turned out to be true of predictions, counted."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from service.contract import Label
from service.counting.counters import Counters
from service.counting.families import Family
from service.feedback.prediction_ids import Prediction

SCORE_BOUNDS: Final = tuple(number / 10 for number in range(1, 11))
OUTCOMES: Final = ("correct", "wrong", "measured")
"""Of a class: whether it was right. Of a number: its error is measured."""


class Truth(NamedTuple):
    """What turned out to be true of a prediction."""

    prediction: Prediction
    actual: Label | float


class ContradictionError(Exception):
    """Other truths came for some predictions before."""

    def __init__(self, kept: Mapping[int, str]) -> None:
        super().__init__(f"other truths came before for {len(kept)} predictions")
        self.kept = kept
        """The truth that stays, as JSON, by the place of the one that was refused."""


Tally = dict[str, dict[tuple[str, ...], float]]
"""What is added to each series, by version; a series is named by its family and its labels after the version."""


def tally(truths: Iterable[Truth]) -> Tally:
    """Add truths up; may run in any thread."""
    found: Tally = {}
    for prediction, actual in truths:
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

    def count(self, found: Tally) -> None:
        """Count truths that were added up."""
        for version, sums in found.items():
            is_served = version == self._served[0]
            block = self._served[1] if is_served else self._counters.block_of(version, *_families(version))
            if block is not None:
                for (family, *labels), amount in sums.items():
                    block.add(block.index(family, version, *labels), amount)


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
