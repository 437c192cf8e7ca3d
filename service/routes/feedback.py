"""POST /feedback: what turned out to be true of predictions."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request, Security
from pydantic import BaseModel, Field

from service.auth.access import access_of, authenticate, run_in_turn
from service.contract import Label
from service.feedback.entries import BYTES_AN_ENTRY, Batch, Entry, read_json, read_lines
from service.feedback.prediction_ids import ExpiredError, Prediction, PredictionIdError
from service.feedback.store import ContradictionError, Truth
from service.http.exchange import media_type, read_body
from service.http.problems import FieldError, Problem
from service.inputs.readers import MAX_NUMBER
from service.instruments.feedback import tally
from service.routes.errors import BODY, errors
from service.routes.predict import SCOPE
from service.routes.table_forms import NDJSON

if TYPE_CHECKING:
    from service.scoring.serving import Serving

ANSWER_SECONDS: Final = 30.0
"""How long a caller waits for its turn, and then for the database."""
_FEW_BYTES: Final = 32 * 1024
"""Larger bodies are checked in a thread, so that others are answered meanwhile."""
_READERS: Final[dict[bytes, Callable[..., Entry | list[Entry]]]] = {b"application/json": read_json, NDJSON: read_lines}
_FORMS: Final = msgspec.json.schema_components([Entry, Batch])[1]
_FORMS["Batch"]["properties"]["feedback"]["items"] = _FORMS["Entry"]
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"oneOf": [*_FORMS.values()]}},
            NDJSON.decode(): {"schema": {"type": "string", "description": "One entry per line"}},
        },
    },
}

router = APIRouter(tags=["model"])


class Stored(BaseModel):
    """The result for one outcome."""

    status: Literal["new", "known"]


class BatchStored(BaseModel):
    """The result for many outcomes."""

    new: int = Field(description="Outcomes that are new")
    known: int = Field(description="Outcomes that were stored before, or are twice in this request")


@router.post(
    "/feedback",
    dependencies=[Security(authenticate, scopes=[SCOPE])],
    openapi_extra=_BODY,
    responses=errors(
        *BODY,
        401,
        403,
        429,
        503,
        also={
            409: "Another outcome is already stored for a prediction; nothing of the request is stored",
            410: "The id is too old (in a batch: 422)",
            422: "An id is unknown or too old, or an outcome is impossible: `errors` lists every entry and field, "
            "and nothing of the request is stored",
        },
    ),
)
async def feedback(request: Request) -> Stored | BatchStored:
    """Store the actual outcome of one prediction or of many: all of them or none.

    You can repeat a request: the same outcome again changes nothing.
    """
    settings, headers = request.app.state.settings, dict(request.scope["headers"])
    kind = media_type(headers)
    if kind not in _READERS:
        raise Problem(415, f"Content-Type must be {b' or '.join(_READERS).decode()}")
    limit = min(settings.max_body_bytes, settings.max_instances * BYTES_AN_ENTRY)
    body = await read_body(request.receive, headers, limit)
    check = partial(_check_body, request, _READERS[kind], body)
    truths, is_batch = check() if len(body) <= _FEW_BYTES else await asyncio.to_thread(check)
    new = await _store(request, truths, is_batch=is_batch)
    if is_batch:
        return BatchStored(new=new, known=len(truths) - new)
    return Stored(status="new" if new else "known")


def _check_body(request: Request, read: Callable[..., Entry | list[Entry]], body: bytes) -> tuple[list[Truth], bool]:
    """Return the truths of a body, and whether it is a batch."""
    found = read(body, request.app.state.settings.max_instances)
    return ([_check(request, found)], False) if isinstance(found, Entry) else (_check_all(request, found), True)


async def _store(request: Request, truths: list[Truth], *, is_batch: bool) -> int:
    """Store all truths or none, in turn with other callers; return how many are new."""
    access, instruments = access_of(request), request.app.state.feedback_instruments
    loop = asyncio.get_running_loop()

    def store() -> int:
        new = access.feedback.store(truths)
        if new:  # counted whether or not the caller still waits: sent again, they would be known already
            loop.call_soon_threadsafe(instruments.count, tally(new))
        return len(new)

    try:
        return await run_in_turn(access.feedback_writer, store, ANSWER_SECONDS)
    except ContradictionError as error:
        raise _contradiction(error.stored, is_batch=is_batch) from None


def _contradiction(stored: Mapping[int, str], *, is_batch: bool) -> Problem:
    if not is_batch:
        return Problem(409, f"Another truth, {stored[0]}, came for this prediction before; it stays")
    errors = [
        FieldError(f"{actual}, which came before", "another truth", place, "actual") for place, actual in stored.items()
    ]
    detail = f"Other truths came before for {len(errors):,} of the entries; nothing of this request is stored"
    return Problem(409, detail, errors=errors, shown=len(errors))


def _check_all(request: Request, entries: list[Entry]) -> list[Truth]:
    """Check entries against what was predicted. Raises Problem (422) that names all that can't be stored."""
    truths: list[Truth] = []
    errors: list[FieldError] = []
    for place, entry in enumerate(entries):
        try:
            truths.append(_check(request, entry))
        except Problem as problem:
            errors += [replace(error, instance=place) for error in problem.errors]
    if errors:
        detail = f"{len(errors):,} of {len(entries):,} entries cannot be stored; nothing of this request is"
        raise Problem(422, detail, errors=errors, shown=len(errors))
    return truths


def _check(request: Request, entry: Entry) -> Truth:
    """Check an entry against what was predicted. Raises Problem."""
    try:
        prediction = request.app.state.prediction_ids.read(entry.prediction_id)
    except ExpiredError as error:
        old = FieldError(field="prediction_id", expected="an id that is not too old", got=str(error))
        raise Problem(410, str(error), errors=[old]) from None
    except PredictionIdError as error:
        found = FieldError(field="prediction_id", expected="an id of POST /predict?ids=true", got="another text")
        raise Problem(422, f"The id is not one of this service: {error}", errors=[found]) from None
    return Truth(prediction, _check_actual(request.app.state.serving, prediction, entry.actual))


def _check_actual(serving: "Serving", prediction: Prediction, actual: Label | float) -> Label | float:
    """Check the truth against what could have been predicted."""
    if isinstance(prediction.predicted, float):
        if isinstance(actual, bool) or not isinstance(actual, int | float) or not abs(actual) <= MAX_NUMBER:
            raise _impossible(f"a number from {-MAX_NUMBER:.3g} to {MAX_NUMBER:.3g}")
        return float(actual)
    classes = serving.current.contract.classes
    if prediction.version.hex() != serving.current.version:
        # The classes of another version are unknown by now; its label still tells of which type they are.
        if type(actual) is not type(prediction.predicted):
            raise _impossible(f"a class such as {prediction.predicted!r}")
    elif (type(actual), actual) not in {(type(each), each) for each in classes}:
        raise _impossible("one of " + ", ".join(map(repr, classes)))
    return actual


def _impossible(expected: str) -> Problem:
    error = FieldError(field="actual", expected=expected, got="something else")
    return Problem(422, f"The truth is impossible: expected {expected}", errors=[error])
