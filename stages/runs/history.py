"""Who was champion when: every move of an alias, kept as a tag of the registered model."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from mlflow.tracking import MlflowClient
from pydantic import BaseModel, ConfigDict, ValidationError

from stages.errors import UserError

_PREFIX = "alias.moved."
_REASON = 1_000
"""Characters; a tag's value holds 5,000."""


class Move(BaseModel):
    """One move of one alias; a version is None where there was none, or is none any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: datetime
    alias: str
    before: str | None
    after: str | None
    why: str


def append(client: MlflowClient, name: str, move: Move) -> None:
    """Keep a move. Each has a tag of its own, so that two writers cannot lose one another's."""
    kept = move.model_copy(update={"why": move.why[:_REASON]})
    key = f"{_PREFIX}{move.when.astimezone(UTC):%Y-%m-%dT%H.%M.%S.%f}.{move.alias}"
    client.set_registered_model_tag(name, key, kept.model_dump_json())


def read(tags: dict[str, str]) -> list[Move]:
    """The moves among a registered model's tags, oldest first; tags of others are passed over."""
    moves = []
    for key in sorted(tags):
        if key.startswith(_PREFIX):
            try:
                moves.append(Move.model_validate_json(tags[key]))
            except ValidationError:
                continue
    return moves


def holder(moves: Iterable[Move], alias: str = "champion") -> str | None:
    """The version that has the alias after these moves, the oldest first."""
    found = None
    for move in moves:
        found = move.after if move.alias == alias else found
    return found


def champions(moves: list[Move], begin: datetime, end: datetime) -> list[str]:
    """Every version that was champion at some moment from `begin` on and before `end`, in their order."""
    first = holder(move for move in moves if move.when <= begin)
    later = [move.after for move in moves if move.alias == "champion" and begin < move.when < end]
    return list(dict.fromkeys(version for version in [first, *later] if version))


def period(text: str) -> tuple[datetime, datetime]:
    """Read a day or a moment (ISO 8601, UTC unless it says otherwise) as its begin and end.

    Raises UserError if it is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{text!r} is no date; write it like 2026-03-01 or 2026-03-01T12:00") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    day = len(text) == len("2026-03-01")
    return moment, moment + (timedelta(days=1) if day else timedelta(microseconds=1))
