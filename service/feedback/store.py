"""What turned out to be true of predictions, kept beside the users."""

from datetime import UTC, datetime

import msgspec
from sqlalchemy import select

from service.contract import Label
from service.feedback.counts import ContradictionError
from service.feedback.prediction_ids import Prediction
from service.users.database import Database, Feedback


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
