"""What turned out to be true of predictions: kept beside the users, and counted."""

from bisect import bisect_left
from datetime import UTC, datetime
from typing import Final

import msgspec
from sqlalchemy import select

from service.contract import Label
from service.counters import Block, Counters
from service.database import Database, Feedback
from service.families import Family
from service.prediction_ids import Prediction

SCORE_BOUNDS: Final = tuple(number / 10 for number in range(1, 11))
OUTCOMES: Final = ("correct", "wrong", "measured")
"""Of a class: whether it was right. Of a number: its error is measured."""


class ContradictionError(Exception):
    """Another truth came for this prediction before; says which."""


class FeedbackStore:
    """Keeps each truth once; every method may wait for the database and raises DatabaseDownError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, prediction: Prediction, actual: Label | float) -> bool:
        """Keep a truth; tell whether it is new. Raises ContradictionError if another one is kept."""
        told = msgspec.json.encode(actual).decode()
        with self._database.writing() as session:
            known = session.scalar(select(Feedback.actual).where(Feedback.id == prediction.key))
            if known is not None:
                if known != told:
                    raise ContradictionError(f"Another truth, {known}, came for this prediction before; it stays")
                return False
            session.add(
                Feedback(
                    id=prediction.key,
                    version=prediction.version.hex(),
                    predicted=msgspec.json.encode(prediction.predicted).decode(),
                    actual=told,
                    predicted_at=datetime.fromtimestamp(prediction.at, UTC),
                    received_at=datetime.now(UTC),
                )
            )
        return True


class FeedbackMetrics:
    """Counts truths by the version that predicted, if it is one of those served last; in the event loop's thread.

    Versions come from signed ids alone, so that no caller can make series.
    """

    def __init__(self, counters: Counters, version: str) -> None:
        self._counters = counters
        self._block(version)  # from zero on: Prometheus sees no increase in a series that begins at one

    def count(self, prediction: Prediction, actual: Label | float) -> None:
        """Count one truth."""
        version = prediction.version.hex()
        block = self._block(version)
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

    def _block(self, version: str) -> Block | None:
        return self._counters.block_of(version, *_families(version))


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
