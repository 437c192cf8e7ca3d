"""Store actual outcomes of predictions in the users database."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.contract import Label
from service.feedback.prediction_ids import Prediction
from service.users.database import FEEDBACK, Database

_INSERTS: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_IDS_AT_ONCE: Final = 500


class Outcome(NamedTuple):
    """The actual outcome of a prediction."""

    prediction: Prediction
    actual: Label | float


class ContradictionError(Exception):
    """Other outcomes are already stored for some predictions, or come twice in the request."""

    def __init__(self, stored: Mapping[int, str]) -> None:
        super().__init__(f"other outcomes are already stored for {len(stored)} predictions")
        self.stored = stored
        """The stored outcomes, as JSON, by the index of the one that was refused."""


class FeedbackStore:
    """Stores one outcome per prediction. It may wait for the database, and raises DatabaseDownError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Store all outcomes or none; return those that are new.

        Raises ContradictionError if another outcome is stored for a prediction, or if two in `outcomes` differ.
        """
        actual = [msgspec.json.encode(outcome.actual).decode() for outcome in outcomes]
        first: dict[str, int] = {}
        for place, outcome in enumerate(outcomes):
            first.setdefault(outcome.prediction.key, place)
        # Insert in the order of the keys, so that two requests with the same predictions can't deadlock.
        rows = [_row(outcomes[first[key]], actual[first[key]]) for key in sorted(first)]
        with self._database.writing() as session:
            insert = _INSERTS[session.get_bind().dialect.name](FEEDBACK).on_conflict_do_nothing()
            new = {*session.scalars(insert.returning(FEEDBACK.c.id), rows)}
            stored = {row["id"]: row["actual"] for row in rows} | _stored(session, first.keys() - new)
            contradicted = {
                place: stored[outcome.prediction.key]
                for place, outcome in enumerate(outcomes)
                if stored[outcome.prediction.key] != actual[place]
            }
            if contradicted:
                raise ContradictionError(contradicted)
        return [outcomes[first[key]] for key in first if key in new]


def _row(outcome: Outcome, actual: str) -> dict[str, Any]:
    prediction = outcome.prediction
    return {
        "id": prediction.key,
        "version": prediction.version.hex(),
        "predicted": msgspec.json.encode(prediction.predicted).decode(),
        "actual": actual,
        "predicted_at": datetime.fromtimestamp(prediction.at, UTC),
        "received_at": datetime.now(UTC),
    }


def _stored(session: Session, ids: set[str]) -> dict[str, str]:
    """Return the stored outcomes of these ids, as JSON, by id."""
    stored: dict[str, str] = {}
    asked = [*ids]
    for start in range(0, len(asked), _IDS_AT_ONCE):
        some = FEEDBACK.c.id.in_(asked[start : start + _IDS_AT_ONCE])
        stored.update((row.id, row.actual) for row in session.execute(select(FEEDBACK).where(some)))
    return stored
