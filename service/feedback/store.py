"""What turned out to be true of predictions, stored beside the users."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from service.contract import Label
from service.feedback.prediction_ids import Prediction
from service.users.database import FEEDBACK, Database

_INSERTS: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_IDS_AT_ONCE: Final = 500


class Truth(NamedTuple):
    """What turned out to be true of a prediction."""

    prediction: Prediction
    actual: Label | float


class ContradictionError(Exception):
    """Other truths came for some predictions before."""

    def __init__(self, stored: Mapping[int, str]) -> None:
        super().__init__(f"other truths came before for {len(stored)} predictions")
        self.stored = stored
        """The truth that stays, as JSON, by the place of the one that was refused."""


class FeedbackStore:
    """Stores each truth once; every method may wait for the database and raises DatabaseDownError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, truths: Sequence[Truth]) -> list[Truth]:
        """Store all truths or none; return those that are new.

        Raises ContradictionError if another truth of one of the predictions is stored, or comes for it twice.
        """
        actual = [msgspec.json.encode(truth.actual).decode() for truth in truths]
        first: dict[str, int] = {}
        for place, truth in enumerate(truths):
            first.setdefault(truth.prediction.key, place)
        # In the order of the keys, so that two callers with the same predictions don't wait for each other.
        rows = [_row(truths[first[key]], actual[first[key]]) for key in sorted(first)]
        with self._database.writing() as connection:
            insert = _INSERTS[connection.dialect.name](FEEDBACK).on_conflict_do_nothing()
            new = {*connection.scalars(insert.returning(FEEDBACK.c.id), rows)}
            stored = {row["id"]: row["actual"] for row in rows} | _stored(connection, first.keys() - new)
            contradicted = {
                place: stored[truth.prediction.key]
                for place, truth in enumerate(truths)
                if stored[truth.prediction.key] != actual[place]
            }
            if contradicted:
                raise ContradictionError(contradicted)
        return [truths[first[key]] for key in first if key in new]


def _row(truth: Truth, actual: str) -> dict[str, Any]:
    prediction = truth.prediction
    return {
        "id": prediction.key,
        "version": prediction.version.hex(),
        "predicted": msgspec.json.encode(prediction.predicted).decode(),
        "actual": actual,
        "predicted_at": datetime.fromtimestamp(prediction.at, UTC),
        "received_at": datetime.now(UTC),
    }


def _stored(connection: Connection, ids: set[str]) -> dict[str, str]:
    """Return the truths of ids that were there before."""
    stored: dict[str, str] = {}
    asked = [*ids]
    for start in range(0, len(asked), _IDS_AT_ONCE):
        some = FEEDBACK.c.id.in_(asked[start : start + _IDS_AT_ONCE])
        stored.update((row.id, row.actual) for row in connection.execute(select(FEEDBACK).where(some)))
    return stored
