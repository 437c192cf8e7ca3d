"""POST /feedback: store the actual outcomes of predictions."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Request, Security
from pydantic import BaseModel, Field, WithJsonSchema
from starlette.datastructures import State

from service.auth.access import access_of, authenticate, run_in_turn
from service.contract import Label
from service.feedback import ContradictionError, ExpiredError, Outcome, Prediction, PredictionIdError, store_outcomes
from service.http.exchange import JSON, decode, media_type, read_body, validate
from service.http.problems import FieldError, Problem
from service.inputs.explain import check_extent
from service.inputs.readers import MAX_NUMBER
from service.instruments.feedback import tally
from service.routes.openapi import BODY, errors
from service.routes.predict import SCOPE
from service.routes.table_forms import NDJSON

if TYPE_CHECKING:
    from service.scoring.serving import Serving

ANSWER_SECONDS: Final = 30.0
"""How long a request waits in the queue, and then for the database."""
_BYTES_AN_ENTRY: Final = 1024
"""Bytes that an entry of a batch may have on average; an id has about 150."""


class Entry(BaseModel, extra="forbid"):
    """The actual outcome of one prediction."""

    prediction_id: Annotated[str, Field(description="From POST /predict?ids=true")]
    actual: Annotated[Any, WithJsonSchema({"type": ["boolean", "number", "string"]})] = Field(
        description="The actual class or number"
    )


_SCHEMA: Final = Entry.model_json_schema()


class Batch(BaseModel, extra="forbid"):
    """The actual outcomes of many predictions; each one is an `Entry`."""

    feedback: Annotated[list[Any], WithJsonSchema({"type": "array", "minItems": 1, "items": _SCHEMA})]


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": {"oneOf": [_SCHEMA, Batch.model_json_schema()]}},
            NDJSON.decode(): {"schema": {"type": "string", "description": "One entry per line"}},
        },
    },
}

router = APIRouter(tags=["predictions"])


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
        *(*BODY, 401, 403, 429, 503),
        also={
            409: "Another outcome is already stored for a prediction; nothing of the request is stored",
            410: "The id is too old (in a batch: 422)",
        },
    ),
)
async def feedback(request: Request) -> Stored | BatchStored:
    """Store the actual outcome of one prediction or of many: all of them or none.

    You can repeat a request: the same outcome again changes nothing.
    """
    settings, headers = request.app.state.settings, dict(request.scope["headers"])
    kind = media_type(headers)
    if kind not in {JSON.encode(), NDJSON}:
        raise Problem(415, f"Content-Type must be {JSON} or {NDJSON.decode()}")
    limit = min(settings.max_body_bytes, settings.max_instances * _BYTES_AN_ENTRY)
    body = await read_body(request.receive, headers, limit)
    outcomes, is_batch = await asyncio.to_thread(_read, request.app.state, kind, body)
    new = await _store(request, outcomes, is_batch=is_batch)
    if is_batch:
        return BatchStored(new=new, known=len(outcomes) - new)
    return Stored(status="new" if new else "known")


def _read(state: State, kind: bytes, body: bytes) -> tuple[list[Outcome], bool]:
    """Return the outcomes in a body, and whether it is a batch: a `Batch`, or lines with one `Entry` each (NDJSON)."""
    most = state.settings.max_instances
    check_extent(body, most, most * len(Entry.model_fields))
    if kind == NDJSON:
        lines = enumerate(BytesIO(body), start=1)
        entries = [decode(line, f"Line {number}", "NDJSON") for number, line in lines if line.strip()]
        return _to_outcomes(state, entries), True
    document = decode(body)
    if isinstance(document, dict) and "feedback" in document:
        return _to_outcomes(state, validate(Batch, document).feedback), True
    return [_to_outcome(state, document)], False


async def _store(request: Request, outcomes: list[Outcome], *, is_batch: bool) -> int:
    """Store all outcomes or none, in the order of requests; return how many are new."""
    access, instruments = access_of(request), request.app.state.feedback_instruments
    loop = asyncio.get_running_loop()

    def store() -> int:
        new = store_outcomes(access.database, outcomes)
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
    return Problem(409, detail, errors=errors)


def _to_outcomes(state: State, entries: list[Any]) -> list[Outcome]:
    """Return the outcomes in the entries. Raises Problem: 413 for too many, 422 with all that can't be stored."""
    limit = state.settings.max_instances
    if len(entries) > limit:
        detail = f"The request has {len(entries):,} entries, at most {limit:,} are allowed; send several requests"
        raise Problem(413, detail, title="Too many entries")
    if not entries:
        error = FieldError(field="feedback", expected="at least 1 entry", got="none")
        raise Problem(422, "The list of entries is empty", title="No entries", errors=[error])
    outcomes: list[Outcome] = []
    errors: list[FieldError] = []
    for place, entry in enumerate(entries):
        try:
            outcomes.append(_to_outcome(state, entry))
        except Problem as problem:
            errors += [replace(error, instance=place) for error in problem.errors]
    if errors:
        detail = f"{len(errors):,} of {len(entries):,} entries are invalid; nothing of this request is stored"
        raise Problem(422, detail, errors=errors)
    return outcomes


def _to_outcome(state: State, document: Any) -> Outcome:
    """Return the outcome in an entry. Raises Problem: 410 if its id is too old, 422 if form, id or outcome is wrong."""
    entry = validate(Entry, document)
    try:
        prediction = state.prediction_ids.read(entry.prediction_id)
    except PredictionIdError as error:
        found = FieldError("an id from POST /predict?ids=true", str(error), field="prediction_id")
        raise Problem(410 if isinstance(error, ExpiredError) else 422, str(error), errors=[found]) from None
    return Outcome(prediction, _check_actual(state.serving, prediction, entry.actual))


def _check_actual(serving: "Serving", prediction: Prediction, actual: Any) -> Label | float:
    """Return the outcome, a float for regression. Raises Problem (422) if the model could not predict it."""
    if isinstance(prediction.predicted, float):
        if type(actual) not in {int, float} or abs(actual) > MAX_NUMBER:
            raise _impossible(f"a number from {-MAX_NUMBER:.3g} to {MAX_NUMBER:.3g}")
        return float(actual)
    classes = serving.current.contract.classes
    if prediction.version.hex() != serving.current.version:
        # The classes of another version are unknown, but the predicted one shows their type.
        if type(actual) is not type(prediction.predicted):
            raise _impossible(f"a class such as {prediction.predicted!r}")
    elif not any(type(actual) is type(each) and actual == each for each in classes):
        raise _impossible("one of " + ", ".join(map(repr, classes)))
    checked: Label = actual
    return checked


def _impossible(expected: str) -> Problem:
    error = FieldError(field="actual", expected=expected, got="something else")
    return Problem(422, f"The outcome is impossible: expected {expected}", errors=[error])
