"""What turned out to be true of predictions, kept beside the users."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from service.contract import Label
from service.feedback.counts import ContradictionError
from service.feedback.prediction_ids import Prediction
from service.users.database import Database, Feedback

_INSERTS: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class FeedbackStore:
    """Keeps each truth once; every method may wait for the database and raises DatabaseDownError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, prediction: Prediction, actual: Label | float) -> bool:
        """Keep a truth; tell whether it is new. Raises ContradictionError if another one is kept."""
        told = msgspec.json.encode(actual).decode()
        row = {
            "id": prediction.key,
            "version": prediction.version.hex(),
            "predicted": msgspec.json.encode(prediction.predicted).decode(),
            "actual": told,
            "predicted_at": datetime.fromtimestamp(prediction.at, UTC),
            "received_at": datetime.now(UTC),
        }
        with self._database.writing() as session:
            insert = _INSERTS[session.get_bind().dialect.name](Feedback).values(row).on_conflict_do_nothing()
            insert = insert.execution_options(preserve_rowcount=True)
            new = session.connection().execute(insert).rowcount == 1
            known = session.scalar(select(Feedback.actual).where(Feedback.id == prediction.key))
        if known != told:
            raise ContradictionError(f"Another truth, {known}, came for this prediction before; it stays")
        return new
