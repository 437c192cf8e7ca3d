"""POST /feedback: store the actual outcomes of predictions."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request, Security
from msgspec import Meta
from pydantic import BaseModel, Field

from service.auth.access import access_of, authenticate, run_in_turn
from service.contract import Label
from service.feedback.prediction_ids import ExpiredError, Prediction, PredictionIdError
from service.feedback.store import ContradictionError, Outcome
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
"""How long a request waits in the queue, and then for the database."""
_FEW_BYTES: Final = 32 * 1024
"""Larger bodies are checked in a thread, so that other requests don't wait."""
_BYTES_AN_ENTRY: Final = 1024
"""Bytes that an entry of a batch may have on average; an id has about 150."""
_PLACE: Final = re.compile(
    r"(?:(?:missing required|unknown) field `(?P<named>[^`]*)`)?"
    r"(?: - at `\$(?:\.feedback)?(?:\[(?P<entry>\d+)\])?(?:\.(?P<field>\w+))?`)?$"
)


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """The actual outcome of one prediction."""

    prediction_id: Annotated[str, Meta(description="From POST /predict?ids=true")]
    actual: Annotated[bool | int | float | str, Meta(description="The actual class or number")]


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """The actual outcomes of many predictions."""

    feedback: Annotated[list[Entry], Meta(extra_json_schema={"minItems": 1})]


_LINE: Final = msgspec.json.Decoder(Entry)
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
    known: int = Field(description="Outcomes that were already stored, or are in this request twice")


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
    limit = min(settings.max_body_bytes, settings.max_instances * _BYTES_AN_ENTRY)
    body = await read_body(request.receive, headers, limit)
    check = partial(_check_body, request, _READERS[kind], body)
    outcomes, is_batch = check() if len(body) <= _FEW_BYTES else await asyncio.to_thread(check)
    new = await _store(request, outcomes, is_batch=is_batch)
    if is_batch:
        return BatchStored(new=new, known=len(outcomes) - new)
    return Stored(status="new" if new else "known")


def _check_body(request: Request, read: Callable[..., Entry | list[Entry]], body: bytes) -> tuple[list[Outcome], bool]:
    """Return the outcomes in a body, and whether it is a batch."""
    found = read(body, request.app.state.settings.max_instances)
    return ([_to_outcome(request, found)], False) if isinstance(found, Entry) else (_to_outcomes(request, found), True)


async def _store(request: Request, outcomes: list[Outcome], *, is_batch: bool) -> int:
    """Store all outcomes or none, in the order of requests; return how many are new."""
    access, instruments = access_of(request), request.app.state.feedback_instruments
    loop = asyncio.get_running_loop()

    def store() -> int:
        new = access.feedback.store(outcomes)
        if new:  # count them even if the caller has disconnected, since a repeated request would find them known
            loop.call_soon_threadsafe(instruments.count, tally(new))
        return len(new)

    try:
        return await run_in_turn(access.feedback_writer, store, ANSWER_SECONDS)
    except ContradictionError as error:
        raise _contradiction(error.stored, is_batch=is_batch) from None


def _contradiction(stored: Mapping[int, str], *, is_batch: bool) -> Problem:
    if not is_batch:
        return Problem(409, f"Another outcome, {stored[0]}, is already stored for this prediction")
    errors = [
        FieldError(f"{actual}, which is already stored", "another outcome", place, "actual")
        for place, actual in stored.items()
    ]
    detail = f"Other outcomes are already stored for {len(errors):,} of the entries; nothing of this request is stored"
    return Problem(409, detail, errors=errors, shown=len(errors))


def _to_outcomes(request: Request, entries: list[Entry]) -> list[Outcome]:
    """Return the outcomes in the entries. Raises Problem (422) with every entry that can't be stored."""
    outcomes: list[Outcome] = []
    errors: list[FieldError] = []
    for place, entry in enumerate(entries):
        try:
            outcomes.append(_to_outcome(request, entry))
        except Problem as problem:
            errors += [replace(error, instance=place) for error in problem.errors]
    if errors:
        detail = f"{len(errors):,} of {len(entries):,} entries are invalid; nothing of this request is stored"
        raise Problem(422, detail, errors=errors, shown=len(errors))
    return outcomes


def _to_outcome(request: Request, entry: Entry) -> Outcome:
    """Return the outcome in an entry. Raises Problem: 410 if its id is too old, 422 if id or outcome is wrong."""
    try:
        prediction = request.app.state.prediction_ids.read(entry.prediction_id)
    except ExpiredError as error:
        old = FieldError(field="prediction_id", expected="an id that is not too old", got=str(error))
        raise Problem(410, str(error), errors=[old]) from None
    except PredictionIdError as error:
        found = FieldError(field="prediction_id", expected="an id from POST /predict?ids=true", got="another text")
        raise Problem(422, f"The id is not one of this service: {error}", errors=[found]) from None
    return Outcome(prediction, _check_actual(request.app.state.serving, prediction, entry.actual))


def _check_actual(serving: "Serving", prediction: Prediction, actual: Label | float) -> Label | float:
    """Return the outcome, a float for regression. Raises Problem (422) if the model could not predict it."""
    if isinstance(prediction.predicted, float):
        if isinstance(actual, bool) or not isinstance(actual, int | float) or not abs(actual) <= MAX_NUMBER:
            raise _impossible(f"a number from {-MAX_NUMBER:.3g} to {MAX_NUMBER:.3g}")
        return float(actual)
    classes = serving.current.contract.classes
    if prediction.version.hex() != serving.current.version:
        # The classes of another version are unknown, but the predicted one shows their type.
        if type(actual) is not type(prediction.predicted):
            raise _impossible(f"a class such as {prediction.predicted!r}")
    elif (type(actual), actual) not in {(type(each), each) for each in classes}:
        raise _impossible("one of " + ", ".join(map(repr, classes)))
    return actual


def _impossible(expected: str) -> Problem:
    error = FieldError(field="actual", expected=expected, got="something else")
    return Problem(422, f"The outcome is impossible: expected {expected}", errors=[error])


def _read_json(body: bytes, limit: int) -> Entry | list[Entry]:
    """Parse ``{"prediction_id": …, "actual": …}`` or ``{"feedback": [{…}, …]}`` with at most `limit` entries.

    Raises Problem: 400 if it isn't JSON, 422 for the first entry with a wrong form, 413 for too many entries.
    """
    try:
        if "feedback" not in msgspec.json.decode(body, type=dict[str, msgspec.Raw]):
            return msgspec.json.decode(body, type=Entry)
        return _check_length(msgspec.json.decode(body, type=Batch).feedback, limit)
    except msgspec.ValidationError as error:
        raise _wrong_form(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}", title="Not JSON") from None


def _read_lines(body: bytes, limit: int) -> list[Entry]:
    """Parse one entry per line (NDJSON) with at most `limit` entries. Raises Problem like `_read_json`."""
    entries: list[Entry] = []
    for number, line in enumerate(BytesIO(body), start=1):
        try:
            if line.strip():
                entries.append(_LINE.decode(line))
        except msgspec.ValidationError as error:
            raise _wrong_form(error, len(entries)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, f"Line {number} is not NDJSON: {error}", title="Not NDJSON") from None
    return _check_length(entries, limit)


def _check_length(entries: list[Entry], limit: int) -> list[Entry]:
    if len(entries) > limit:
        detail = f"The request has {len(entries):,} entries, at most {limit:,} are allowed; send several requests"
        raise Problem(413, detail, title="Too many entries")
    if not entries:
        error = FieldError(field="feedback", expected="at least 1 entry", got="none")
        raise Problem(422, "The list of entries is empty", title="No entries", errors=[error])
    return entries


def _wrong_form(error: msgspec.ValidationError, number: int | None = None) -> Problem:
    """Return the problem with the entry and the field; the decoder's message has types, but no values."""
    text = str(error)
    place = _PLACE.search(text)
    entry, field = (place["entry"], place["named"] or place["field"]) if place else (None, None)
    found = FieldError(
        expected="an entry with prediction_id (text) and actual (text, number or boolean), and nothing else",
        got=text.partition(" - at `")[0],
        instance=int(entry) if entry else number,
        field=field,
    )
    return Problem(422, text, errors=[found])


_READERS: Final[dict[bytes, Callable[..., Entry | list[Entry]]]] = {
    b"application/json": _read_json,
    NDJSON: _read_lines,
}
