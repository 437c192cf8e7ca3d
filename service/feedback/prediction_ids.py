"""Names of predictions that carry, signed, all that is needed once the truth is known.

An id holds the model's version, what was predicted and when, so that nothing is kept until
somebody comes back with it: a service that gives ids writes no more than one that does not.
"""

import asyncio
import base64
import hmac
import os
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from pydantic import TypeAdapter, ValidationError

from service.contract import Label
from service.http.problems import FieldError, Problem
from service.settings import Settings

_ASKED: Final = b"ids=true"
_FLAG: Final = TypeAdapter(bool)
MAX_LENGTH: Final = 2048

_FEW_ROWS: Final = 150
_SIGNATURE_BYTES: Final = 16
_DAY_SECONDS: Final = 86_400
_TRUNCATED: Final = "It is cut off or changed"


class Prediction(msgspec.Struct, frozen=True, array_like=True):
    """What an id says."""

    nonce: bytes
    """Tells it from every other."""
    at: int
    """When it was predicted, seconds since 1970."""
    version: bytes
    """MD5 of the artifact, 16 bytes."""
    predicted: Label | float
    score: float | None = None
    """Binary: probability of the positive class, 0 to 1."""
    positive: bool | None = None
    """Binary: whether the positive class was predicted."""

    @property
    def key(self) -> str:
        """The nonce as text."""
        return self.nonce.hex()


class PredictionIdError(ValueError):
    """The text is no id of ours; says why."""


class ExpiredError(PredictionIdError):
    """The id was good once."""


class PredictionIds:
    """Makes and reads ids; they are signed with a key drawn from SECRET_KEY, the previous one counts as well."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        secrets = (settings.secret_key, settings.secret_key_previous)
        self._keys = [_key(each.get_secret_value()) for each in secrets if each is not None]
        self._lifetime = settings.feedback_days * _DAY_SECONDS
        self._clock = clock

    def make(self, version: str, rows: Sequence[tuple[Label | float, float | None, bool | None]]) -> list[str]:
        """Give an id for each row's prediction, score and whether that is the positive class."""
        md5, now, unique = bytes.fromhex(version), int(self._clock()), os.urandom(12)
        return [
            self._sign(Prediction(unique + number.to_bytes(4, "big"), now, md5, *row))
            for number, row in enumerate(rows)
        ]

    def name(self, served: Any, scored: Any) -> list[str]:
        """Give an id for each row that `served` has `scored`, both as `service.scoring.serving` has them."""
        return self.make(served.version, rows(served.contract.classes, served.contract.positive, scored))

    async def name_aside(self, served: Any, scored: Any) -> list[str]:
        """Do the same for any number of rows; for many, at 3 µs each, in a thread while others are answered."""
        if len(scored.numbers) <= _FEW_ROWS:
            return self.name(served, scored)
        return await asyncio.to_thread(self.name, served, scored)

    def read(self, text: str) -> Prediction:
        """Read an id. Raises ExpiredError, or PredictionIdError if it is not one of ours."""
        prediction = self.read_expired(text)
        if self._clock() - prediction.at > self._lifetime:
            raise ExpiredError(f"It was given more than {self._lifetime // _DAY_SECONDS} days ago")
        return prediction

    def read_expired(self, text: str) -> Prediction:
        """Read an id of any age. Raises PredictionIdError if it is not one of ours."""
        try:
            content = base64.b64decode(text[:MAX_LENGTH] + "=" * (-len(text) % 4), b"-_", validate=True)
        except ValueError:
            raise PredictionIdError(_TRUNCATED) from None
        body, signature = content[:-_SIGNATURE_BYTES], content[-_SIGNATURE_BYTES:]
        if not any(hmac.compare_digest(signature, _signature(key, body)) for key in self._keys):
            raise PredictionIdError(f"{_TRUNCATED}, or another service's")
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


def are_asked(query: bytes) -> bool:
    """Tell whether a query of POST /predict asks for ids.

    Raises Problem (422) if it says neither yes nor no.
    """
    if not query or query == _ASKED:
        return bool(query)
    value = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("ids", "false")
    try:
        return _FLAG.validate_strings(value)
    except ValidationError:
        error = FieldError(field="ids", expected="true or false", got=repr(value[:80]))
        raise Problem(422, "The query does not fit", errors=[error]) from None


def rows(classes: Sequence[Label], positive: Any, scored: Any) -> list[tuple[Label | float, float | None, bool | None]]:
    """List what each row's id holds; `scored` as `service.scoring.serving.Scored`."""
    if not classes:
        return [(float(value), None, None) for value in scored.values]
    if positive is None:
        return [(label, None, None) for label in scored.labels]
    scores = scored.scores[:, list(classes).index(positive)].tolist()
    return [(label, score, label == positive) for label, score in zip(scored.labels, scores, strict=True)]
