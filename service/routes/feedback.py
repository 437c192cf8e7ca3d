"""POST /feedback: what turned out to be true of a prediction."""

import asyncio
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel

from service.auth.access import access_of, authenticate
from service.contract import Contract, Label
from service.feedback.counts import ContradictionError, FeedbackMetrics
from service.feedback.prediction_ids import ExpiredError, Prediction, PredictionIdError, PredictionIds
from service.http.problems import FieldError, Problem
from service.inputs.layout import MAX_NUMBER
from service.routes.admin import ANSWER_SECONDS, no_answer
from service.routes.predict import SCOPE
from service.routes.token import read_struct
from service.threads import BusyError
from service.users.database_url import DatabaseDownError

if TYPE_CHECKING:
    from service.scoring.serving import Serving

_BODY: Final[dict[str, Any]] = {
    "security": [{"token": [SCOPE]}],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["prediction_id", "actual"],
                    "properties": {
                        "prediction_id": {"type": "string", "description": "From POST /predict?ids=true"},
                        "actual": {
                            "type": ["string", "number", "boolean"],
                            "description": "The true class, or the true number",
                        },
                    },
                }
            }
        },
    },
}

router = APIRouter(tags=["model"])


class Truth(msgspec.Struct, forbid_unknown_fields=True):
    """What the caller tells."""

    prediction_id: str
    actual: bool | int | float | str


class Kept(BaseModel):
    """What became of it."""

    status: Literal["new", "known"]


@router.post(
    "/feedback",
    openapi_extra=_BODY,
    responses={
        400: {"description": "The body is not JSON, or broke off"},
        401: {"description": "No token, or one that does not count"},
        403: {"description": "The token lacks the scope predict"},
        408: {"description": "The body was too slow"},
        409: {"description": "Another truth came for this prediction before"},
        410: {"description": "The id is too old"},
        413: {"description": "The body is too large"},
        415: {"description": "The body is no JSON by its content type"},
        422: {"description": "The id is not one of this service, or the truth cannot be"},
        503: {"description": "The database gives no answer"},
    },
)
async def feedback(request: Request) -> Kept:
    """Take what turned out to be true of a prediction; telling it again changes nothing."""
    authenticate(request, SCOPE)
    access, serving = access_of(request), request.app.state.serving
    metrics: FeedbackMetrics = request.app.state.feedback_metrics
    loop = asyncio.get_running_loop()
    truth = await read_struct(request, Truth)
    prediction = _prediction(request.app.state.prediction_ids, truth.prediction_id)
    actual = _actual(prediction, truth.actual, serving)

    def keep() -> bool:
        new = access.feedback.keep(prediction, actual)
        if new:  # counted whether or not the caller still waits: told again, it would be known already
            loop.call_soon_threadsafe(metrics.count, prediction, actual)
        return new

    try:
        new = await access.administration.run(keep, ANSWER_SECONDS)
    except ContradictionError as error:
        raise Problem(409, str(error)) from None
    except (DatabaseDownError, TimeoutError, BusyError) as error:
        raise no_answer(error) from None
    return Kept(status="new" if new else "known")


def _prediction(ids: PredictionIds, text: str) -> Prediction:
    try:
        return ids.read(text)
    except ExpiredError as error:
        raise Problem(410, str(error)) from None
    except PredictionIdError as error:
        found = FieldError(field="prediction_id", expected="an id of POST /predict?ids=true", got="another text")
        raise Problem(422, f"The id is not one of this service: {error}", errors=[found]) from None


def _actual(prediction: Prediction, actual: Label | float, serving: "Serving") -> Label | float:
    """Check the truth against what could have been predicted."""
    if isinstance(prediction.predicted, float):
        if isinstance(actual, bool) or not isinstance(actual, int | float) or not abs(actual) <= MAX_NUMBER:
            raise _impossible(f"a number from {-MAX_NUMBER:.3g} to {MAX_NUMBER:.3g}")
        return float(actual)
    contract: Contract = serving.current.contract
    if prediction.version.hex() != serving.current.version:
        # What classes another version had is not known any more; its label tells at least of which kind they are.
        if type(actual) is not type(prediction.predicted):
            raise _impossible(f"a class such as {prediction.predicted!r}")
    elif (type(actual), actual) not in {(type(each), each) for each in contract.classes}:
        raise _impossible("one of " + ", ".join(map(repr, contract.classes)))
    return actual


def _impossible(expected: str) -> Problem:
    error = FieldError(field="actual", expected=expected, got="something else")
    return Problem(422, f"The truth cannot be: expected {expected}", errors=[error])
