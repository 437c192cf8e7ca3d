"""Actual outcomes of predictions: make and read prediction ids, with which a caller sends them, and store them.

An id is signed and contains the prediction, its time and the model's version. So the service
stores nothing about a prediction until it gets feedback.
"""

import asyncio
import base64
import hmac
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.contract import Label
from service.settings import Settings
from service.users.database import FEEDBACK, Database

_INSERTS: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_IDS_AT_ONCE: Final = 500
MAX_LENGTH: Final = 2048
_FEW_ROWS: Final = 150
_SIGNATURE_BYTES: Final = 16
_DAY_SECONDS: Final = 86_400
_TRUNCATED: Final = "It was cut off or changed"


class Prediction(msgspec.Struct, frozen=True, array_like=True):
    """The content of an id."""

    nonce: bytes
    """16 bytes, different for every prediction."""
    at: int
    """Time of the prediction in seconds since 1970."""
    version: bytes
    """MD5 of the ONNX file, 16 bytes."""
    predicted: Label | float
    score: float | None = None
    """Binary: probability of the positive class, 0 to 1."""
    positive: bool | None = None
    """Binary: whether the positive class was predicted."""
    cover: float | list[Label] | None = None
    """Half the width of the interval, or the classes in the set, at the level that feedback counts."""

    @property
    def key(self) -> str:
        """The nonce as 32 hexadecimal digits, the primary key in the database."""
        return self.nonce.hex()


class PredictionIdError(ValueError):
    """The text isn't an id from this service. The message says why."""


class ExpiredError(PredictionIdError):
    """The id is older than FEEDBACK_DAYS."""


class PredictionIds:
    """Makes ids signed with a key derived from SECRET_KEY; reads those of SECRET_KEY_PREVIOUS too."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        secrets = (settings.secret_key, settings.secret_key_previous)
        self._keys = [_key(each.get_secret_value()) for each in secrets if each is not None]
        self._lifetime = settings.feedback_days * _DAY_SECONDS
        self._clock = clock

    def make(self, version: str, rows: Iterable[tuple[Any, ...]]) -> list[str]:
        """Return an id for each row. A row has the last fields of a Prediction, from `predicted` on."""
        md5, now, unique = bytes.fromhex(version), int(self._clock()), os.urandom(12)
        return [
            self._sign(Prediction(unique + number.to_bytes(4, "big"), now, md5, *row))
            for number, row in enumerate(rows)
        ]

    def make_all(self, served: Any, scored: Any) -> list[str]:
        """Return an id for each row; `served` and `scored` are a Served and a Scored of `service.scoring.serving`."""
        classes, positive = served.contract.classes, served.contract.positive
        predicted: Iterable[Any] = scored.labels if classes else map(float, scored.values)
        scores = is_positive = [None] * len(scored.numbers)
        if positive is not None:
            scores = scored.scores[:, classes.index(positive)].tolist()
            is_positive = [label == positive for label in scored.labels]
        return self.make(served.version, zip(predicted, scores, is_positive, served.live(scored), strict=True))

    async def make_all_async(self, served: Any, scored: Any) -> list[str]:
        """Return the same ids. For many rows, make them in a thread, because one id takes 3 µs."""
        if len(scored.numbers) <= _FEW_ROWS:
            return self.make_all(served, scored)
        return await asyncio.to_thread(self.make_all, served, scored)

    def read(self, text: str) -> Prediction:
        """Read an id. Raises ExpiredError if it is too old, PredictionIdError if it isn't from this service."""
        prediction = self.read_expired(text)
        if self._clock() - prediction.at > self._lifetime:
            raise ExpiredError(f"The id is more than {self._lifetime // _DAY_SECONDS} days old")
        return prediction

    def read_expired(self, text: str) -> Prediction:
        """Read an id of any age. Raises PredictionIdError if it isn't from this service."""
        try:
            content = base64.b64decode(text[:MAX_LENGTH] + "=" * (-len(text) % 4), b"-_", validate=True)
        except ValueError:
            raise PredictionIdError(_TRUNCATED) from None
        body, signature = content[:-_SIGNATURE_BYTES], content[-_SIGNATURE_BYTES:]
        if not any(hmac.compare_digest(signature, _signature(key, body)) for key in self._keys):
            raise PredictionIdError(f"{_TRUNCATED}, or is from another service")
        return _DECODER.decode(body)

    def _sign(self, prediction: Prediction) -> str:
        body = _ENCODER.encode(prediction)
        return base64.urlsafe_b64encode(body + _signature(self._keys[0], body)).decode().rstrip("=")


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Prediction)


def _key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"prediction id", sha256)


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, sha256)[:_SIGNATURE_BYTES]


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


def store_outcomes(database: Database, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Store all outcomes or none, one for each prediction; return those that are new.

    It may wait for the database. Raises ContradictionError if another outcome is stored for a prediction, or if two in
    `outcomes` differ, and DatabaseDownError.
    """
    actual = [msgspec.json.encode(outcome.actual).decode() for outcome in outcomes]
    first: dict[str, int] = {}
    for place, outcome in enumerate(outcomes):
        first.setdefault(outcome.prediction.key, place)
    # Insert in the order of the keys, so that two requests with the same predictions can't deadlock.
    rows = [_row(outcomes[first[key]], actual[first[key]]) for key in sorted(first)]
    with database.writing() as session:
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
