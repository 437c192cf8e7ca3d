"""POST /feedback: what turned out to be true of predictions."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from service.auth.access import access_of, authenticate
from service.contract import Contract, Label
from service.feedback.entries import BYTES_AN_ENTRY, Body, Entry, read_json, read_lines
from service.feedback.prediction_ids import ExpiredError, Prediction, PredictionIdError, PredictionIds
from service.feedback.store import ContradictionError, Truth
from service.http.exchange import media_type, read_body
from service.http.problems import FieldError, Problem
from service.inputs.readers import MAX_NUMBER
from service.instruments.feedback import FeedbackInstruments, tally
from service.routes.admin import database_down
from service.routes.predict import SCOPE
from service.routes.table_forms import NDJSON
from service.threads import BusyError
from service.users.database_url import DatabaseDownError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.scoring.serving import Serving
    from service.settings import Settings

ANSWER_SECONDS: Final = 30.0
"""How long a caller waits for its turn and for the database."""
_FEW_ENTRIES: Final = 150
_JSON: Final = b"application/json"
_ENTRY: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["prediction_id", "actual"],
    "properties": {
        "prediction_id": {"type": "string", "description": "From POST /predict?ids=true"},
        "actual": {"type": ["string", "number", "boolean"], "description": "The true class, or the true number"},
    },
}
_BATCH: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["feedback"],
    "properties": {"feedback": {"type": "array", "minItems": 1, "items": _ENTRY}},
}
_LINES: Final[dict[str, Any]] = {
    "type": "string",
    "description": "An object with prediction_id and actual in each line",
}
_BODY: Final[dict[str, Any]] = {
    "security": [{"token": [SCOPE]}],
    "requestBody": {
        "required": True,
        "content": {
            _JSON.decode(): {"schema": {"oneOf": [_ENTRY, _BATCH]}},
            NDJSON.decode(): {"schema": _LINES},
        },
    },
}

router = APIRouter(tags=["model"])


class Kept(BaseModel):
    """What became of one truth."""

    status: Literal["new", "known"]


class BatchKept(BaseModel):
    """What became of many truths."""

    new: int = Field(description="Truths that came for the first time")
    known: int = Field(description="Truths that came before, or twice in this request")


@router.post(
    "/feedback",
    openapi_extra=_BODY,
    responses={
        400: {"description": "The body is not JSON or NDJSON, or broke off"},
        401: {"description": "No token, or one that does not count"},
        403: {"description": "The token lacks the scope predict"},
        408: {"description": "The body was too slow"},
        409: {"description": "Another truth came for a prediction before; nothing of the request is kept"},
        410: {"description": "The id is too old; in a batch that is a 422"},
        413: {"description": "The body or the number of entries is too large"},
        415: {"description": "The body is neither JSON nor NDJSON by its content type"},
        422: {
            "description": "An id is not one of this service or too old, or a truth cannot be: "
            "`errors` names every entry and field, and nothing of the request is kept"
        },
        429: {"description": "Too many callers wait for their turn"},
        503: {"description": "The database gives no answer"},
    },
)
async def feedback(request: Request) -> Kept | BatchKept:
    """Keep what turned out to be true of a prediction or of many, all of them or none.

    To tell a truth again changes nothing, so that a request may be repeated.
    """
    await authenticate(request, SCOPE)
    body = await _read(request)
    checker = _Checker(request.app.state.prediction_ids, request.app.state.serving)
    if not body.is_batch:
        new = await _keep(request, [checker.check(body.entries[0])], is_batch=False)
        return Kept(status="new" if new else "known")
    if len(body.entries) <= _FEW_ENTRIES:
        truths = checker.check_all(body.entries)
    else:
        truths = await asyncio.to_thread(checker.check_all, body.entries)
    new = await _keep(request, truths, is_batch=True)
    return BatchKept(new=new, known=len(truths) - new)


async def _read(request: Request) -> Body:
    settings: Settings = request.app.state.settings
    headers = dict(request.scope["headers"])
    kind = media_type(headers)
    if kind not in {_JSON, NDJSON}:
        raise Problem(415, f"Content-Type must be {_JSON.decode()} or {NDJSON.decode()}")
    limit = min(settings.max_body_bytes, settings.max_instances * BYTES_AN_ENTRY)
    body = await read_body(request.receive, headers, limit)
    return (read_json if kind == _JSON else read_lines)(body, settings.max_instances)


async def _keep(request: Request, truths: list[Truth], *, is_batch: bool) -> int:
    """Keep all truths or none, in turn with other callers; return how many are new."""
    access = access_of(request)
    instruments: FeedbackInstruments = request.app.state.feedback_instruments
    loop = asyncio.get_running_loop()

    def keep() -> int:
        new = access.feedback.store(truths)
        if new:  # counted whether or not the caller still waits: told again, they would be known already
            loop.call_soon_threadsafe(instruments.count, tally(new))
        return len(new)

    try:
        return await access.feedback_writer.run(keep, ANSWER_SECONDS)
    except ContradictionError as error:
        raise _contradiction(error.kept, is_batch=is_batch) from None
    except BusyError:  # the caller's to wait, and no outage
        raise Problem(429, "Too many callers wait for their turn; try again", headers={"Retry-After": "2"}) from None
    except (DatabaseDownError, TimeoutError) as error:
        raise database_down(error) from None


def _contradiction(kept: "Mapping[int, str]", *, is_batch: bool) -> Problem:
    if not is_batch:
        return Problem(409, f"Another truth, {kept[0]}, came for this prediction before; it stays")
    errors = [
        FieldError(f"{told}, which came before", "another truth", place, "actual") for place, told in kept.items()
    ]
    detail = f"Other truths came before for {len(errors):,} of the entries; nothing of this request is kept"
    return Problem(409, detail, errors=errors, shown=len(errors))


@dataclass(frozen=True, slots=True)
class _Checker:
    """Checks entries against what was predicted."""

    ids: PredictionIds
    serving: "Serving"

    def check_all(self, entries: list[Entry]) -> list[Truth]:
        """Check every entry. Raises Problem (422) that names all entries that can't be kept."""
        truths: list[Truth] = []
        errors: list[FieldError] = []
        for place, entry in enumerate(entries):
            try:
                truths.append(self.check(entry))
            except Problem as problem:
                errors += [msgspec.structs.replace(error, instance=place) for error in problem.errors]
        if errors:
            detail = f"{len(errors):,} of {len(entries):,} entries cannot be kept; nothing of this request is"
            raise Problem(422, detail, errors=errors, shown=len(errors))
        return truths

    def check(self, entry: Entry) -> Truth:
        """Check one entry. Raises Problem."""
        prediction = self._prediction(entry.prediction_id)
        return Truth(prediction, self._actual(prediction, entry.actual))

    def _prediction(self, text: str) -> Prediction:
        try:
            return self.ids.read(text)
        except ExpiredError as error:
            old = FieldError(field="prediction_id", expected="an id that is not too old", got=str(error))
            raise Problem(410, str(error), errors=[old]) from None
        except PredictionIdError as error:
            found = FieldError(field="prediction_id", expected="an id of POST /predict?ids=true", got="another text")
            raise Problem(422, f"The id is not one of this service: {error}", errors=[found]) from None

    def _actual(self, prediction: Prediction, actual: Label | float) -> Label | float:
        """Check the truth against what could have been predicted."""
        if isinstance(prediction.predicted, float):
            if isinstance(actual, bool) or not isinstance(actual, int | float) or not abs(actual) <= MAX_NUMBER:
                raise _impossible(f"a number from {-MAX_NUMBER:.3g} to {MAX_NUMBER:.3g}")
            return float(actual)
        contract: Contract = self.serving.current.contract
        if prediction.version.hex() != self.serving.current.version:
            # What classes another version had is not known any more; its label tells at least of which kind they are.
            if type(actual) is not type(prediction.predicted):
                raise _impossible(f"a class such as {prediction.predicted!r}")
        elif (type(actual), actual) not in {(type(each), each) for each in contract.classes}:
            raise _impossible("one of " + ", ".join(map(repr, contract.classes)))
        return actual


def _impossible(expected: str) -> Problem:
    error = FieldError(field="actual", expected=expected, got="something else")
    return Problem(422, f"The truth cannot be: expected {expected}", errors=[error])
