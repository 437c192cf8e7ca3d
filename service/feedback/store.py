"""What turned out to be true of predictions, kept beside the users."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from service.contract import Label
from service.feedback.prediction_ids import Prediction
from service.users.database import Database, Feedback

_INSERTS: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_IDS_AT_ONCE: Final = 500


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


class FeedbackStore:
    """Keeps each truth once; every method may wait for the database and raises DatabaseDownError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, truths: Sequence[Truth]) -> list[Truth]:
        """Keep all truths or none; return those that are new.

        Raises ContradictionError if another truth is kept of one of the predictions, or comes for it twice.
        """
        told = [msgspec.json.encode(truth.actual).decode() for truth in truths]
        first: dict[str, int] = {}
        for place, truth in enumerate(truths):
            first.setdefault(truth.prediction.key, place)
        # In the order of the keys, so that two callers with the same predictions don't wait for each other.
        rows = [_row(truths[first[key]], told[first[key]]) for key in sorted(first)]
        with self._database.writing() as session:
            new = _insert(session.connection(), rows)
            kept = {row["id"]: row["actual"] for row in rows} | _kept(session.connection(), first.keys() - new)
            contradicted = {
                place: kept[truth.prediction.key]
                for place, truth in enumerate(truths)
                if kept[truth.prediction.key] != told[place]
            }
            if contradicted:
                raise ContradictionError(contradicted)
        return [truths[first[key]] for key in first if key in new]


def _row(truth: Truth, told: str) -> dict[str, Any]:
    prediction = truth.prediction
    return {
        "id": prediction.key,
        "version": prediction.version.hex(),
        "predicted": msgspec.json.encode(prediction.predicted).decode(),
        "actual": told,
        "predicted_at": datetime.fromtimestamp(prediction.at, UTC),
        "received_at": datetime.now(UTC),
    }


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> set[str]:
    """Insert the rows whose id is not there; return their ids."""
    insert = _INSERTS[connection.dialect.name](Feedback.__table__).on_conflict_do_nothing()
    return {*connection.scalars(insert.returning(Feedback.__table__.c.id), rows)}


def _kept(connection: Connection, ids: set[str]) -> dict[str, str]:
    """Read the truths of ids that were there before."""
    kept: dict[str, str] = {}
    asked = [*ids]
    for start in range(0, len(asked), _IDS_AT_ONCE):
        some = Feedback.id.in_(asked[start : start + _IDS_AT_ONCE])
        kept |= {key: told for key, told in connection.execute(select(Feedback.id, Feedback.actual).where(some))}  # noqa: C416
    return kept
