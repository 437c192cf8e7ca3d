"""Build the OpenAPI document: FastAPI's, with the features of the model in service and an example that works."""

import re
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Query, Security
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from service.auth.access import authenticate
from service.cells import Reading
from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature, class_name
from service.http.problems import MEDIA_TYPE, SHOWN_ERRORS, FieldError
from service.inputs.readers import MAX_NUMBER
from service.scoring.serving import Served

Schema = dict[str, Any]

_MEANINGS: Final = {
    400: "The body is not JSON",
    401: "The credential is missing or not valid",
    403: "The credential does not have the scope",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The media type of the body is not supported",
    422: "The request is invalid; `detail` or `errors` says why",
    429: "Too many requests are waiting; try again after Retry-After seconds",
    500: "The service failed; its log has the reason",
    503: "The users database doesn't answer",
}
TAGS: Final = {
    "predictions": "Predict, and report how it turned out",
    "model": "The model in service, and the releases before it",
    "sign-in": "Tokens for users and programs, single sign-on",
    "monitoring": "Health and metrics",
    "open inference protocol": "Predictions for clients of KServe, Triton and others",
    "administration": "Users, for callers with the scope `admin`",
}
"""The groups of operations, in the order of /docs."""
_SENTENCE: Final = re.compile(r"(.+?)\.(?:\s+(.*))?", re.DOTALL)
BODY: Final = (400, 408, 413, 415, 422)
"""The statuses for a bad request body."""
_SHOWN_CATEGORIES: Final = 50
_IDS: Final = "The ids of the predictions, for POST /feedback and `python -m service.lineage`"
_EXPLANATIONS: Final = """With ?explain=true, for each instance: how much each feature contributes to the score, and
base_value, the mean score of background rows. They add up to the probability of the positive class or of the predicted
one, or to the value"""
_ERRORS: Final = "With ?explain=true, for each instance: the largest error of its contributions, 0 if they are exact"
_INTERVALS: Final = "With ?coverage=0.9, for each instance: the low and the high end of its prediction interval"
_SETS: Final = "With ?coverage=0.9, for each instance: the classes of its prediction set; it may be empty"
_TABLE: Final[Schema] = {
    "schema": {"type": "string", "description": "One row per line; the answer has the same format"}
}
_TABLES: Final = {"text/csv": _TABLE, "application/x-ndjson": _TABLE}


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(json_schema_extra={"format": "uri-reference"})
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
    error_count: int = Field(
        0, description=f"Errors until the service stopped reading; `errors` has the first {SHOWN_ERRORS}"
    )


def errors(*statuses: int, also: dict[int, str] | None = None) -> dict[int | str, Schema]:
    """Describe these statuses and 500; `also` adds statuses with another description."""
    meanings = {status: _MEANINGS[status] for status in (*statuses, 500)} | (also or {})
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in meanings.items()}


def request_body(form: type[BaseModel], kind: str = "application/json") -> Schema:
    """Return the description of a request body of this form."""
    return {"requestBody": {"required": True, "content": {kind: {"schema": form.model_json_schema()}}}}


class Instance(BaseModel):
    """One row. The model in service says which fields it has."""


class PredictRequest(BaseModel, extra="forbid"):
    """The rows to predict from."""

    instances: Annotated[list[Instance], Field(min_length=1)]


class PredictQuery(BaseModel):
    """What a request asks for beside predictions."""

    ids: bool = Field(default=False, description="If true, the answer has prediction ids")
    explain: bool = Field(default=False, description="If true, the answer has explanations; only for JSON")
    coverage: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = Field(
        default=None, description="The answer has intervals or sets that contain the truth with this probability"
    )


class ServedModel(BaseModel):
    """Which model answered."""

    name: str
    version: str


class OutsideWarning(BaseModel):
    """A value that training didn't have; the service predicts anyway."""

    instance: int
    field: str
    kind: Literal["unseen_category", "out_of_range"]


class PredictResponse(BaseModel):
    """The predictions, in the order of the rows."""

    predictions: list[float]
    model: ServedModel
    warnings: list[OutsideWarning] = Field([], description="Only if there are any")
    prediction_ids: list[str] = Field([], description=f"With ?ids=true: {_IDS}")
    explanations: list[dict[str, float]] = Field([], description=_EXPLANATIONS)
    intervals: list[tuple[float, float]] = Field([], description=_INTERVALS)
    explanation_errors: list[float] = Field([], description=_ERRORS)


def predict(  # type: ignore[empty-body]  # only described: `service.routes.predict` answers
    body: PredictRequest,
    query: Annotated[PredictQuery, Query()],
) -> PredictResponse:
    """Predict from one row or many.

    Send instances as JSON, or a table of any length as CSV (with a header line) or NDJSON. The answer has the form of
    the request.
    """


PREDICT: Final[dict[str, Any]] = {
    "operation_id": "predict",
    "tags": ["predictions"],
    "responses": {
        200: {"description": "A prediction for each instance, in order", "content": _TABLES},
        **errors(
            *(*BODY, 401, 403, 429, 503),
            also={
                409: "The model in service has no explanations, intervals or sets; `detail` says why",
                507: "The disk is full, so a table cannot be answered",
            },
        ),
    },
    "dependencies": [Security(authenticate, scopes=["predict"])],
    "openapi_extra": {"requestBody": {"content": _TABLES}},
}
"""The description of POST /predict, besides its schemas."""


def describe(app: FastAPI, served: Served) -> Schema:
    """Return the OpenAPI document for the model in service; it is made once."""
    if not served.description:
        served.description = _describe(app, served)
    return served.description


def _describe(app: FastAPI, served: Served) -> Schema:
    document: Schema = get_openapi(
        title=f"Predictions of {served.artifact.release.name}",
        version=served.version[:12],
        summary=f"Predicts {served.contract.target!r}",
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    for operation in (each for path in document["paths"].values() for each in path.values()):
        _name_by_first_sentence(operation)
    _, problem = models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")
    schemas = document["components"]["schemas"]
    schemas |= problem["$defs"]
    schemas["Instance"] |= _instance(served)
    schemas["PredictRequest"]["example"] = {"instances": [served.example]}
    if served.contract.classes:
        _add_classes(schemas["PredictResponse"], served.contract)
    issuer = app.state.settings.oidc_issuer
    if issuer:
        _add_single_sign_on(document, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    return document


def _name_by_first_sentence(operation: Schema) -> None:
    """Take the first sentence of a description as the summary; FastAPI's own is the function's name."""
    sentence = _SENTENCE.fullmatch(operation["description"])
    if sentence:
        operation["summary"], operation["description"] = sentence[1], sentence[2] or ""


def _add_single_sign_on(document: Schema, url: str) -> None:
    schemes = document["components"]["securitySchemes"]
    schemes["single_sign_on"] = {"type": "openIdConnect", "openIdConnectUrl": url}
    for operations in document["paths"].values():
        for operation in operations.values():
            if "security" in operation:
                operation["security"].append({"single_sign_on": []})


def _add_classes(response: Schema, contract: Contract) -> None:
    classes = list(contract.classes)
    names = [class_name(label) for label in classes]
    probabilities = {
        "type": "object",
        "required": names,
        "properties": {name: {"type": "number", "minimum": 0, "maximum": 1} for name in names},
    }
    response["required"].append("probabilities")
    response["properties"] |= {
        "predictions": {"type": "array", "items": {"enum": classes}},
        "probabilities": {"type": "array", "items": probabilities},
        "sets": {"type": "array", "items": {"type": "array", "items": {"enum": classes}}, "description": _SETS},
    }
    del response["properties"]["intervals"]


def _instance(served: Served) -> Schema:
    """Return the schema of one row. Not a Pydantic model, because feature names needn't be Python identifiers."""
    features = served.contract.features
    return {
        "additionalProperties": False,
        "required": [feature.name for feature in features if not feature.nullable],
        "properties": {feature.name: _field(feature, served.contract.reading) for feature in features},
        "example": served.example,
    }


def _field(feature: Feature, reading: Reading) -> Schema:
    schema = _value(feature)
    if not feature.nullable:
        if feature.type == "category":  # exclude the texts that mean "no value"
            texts = "|".join(map(re.escape, sorted(reading.missing_texts(feature.name))))
            schema["not"] = {"pattern": rf"^\s*({texts})\s*$"}
        return schema
    description = schema.pop("description", "")
    return {"anyOf": [schema, {"type": "null"}], "description": description}


def _value(feature: Feature) -> Schema:
    match feature:
        case BooleanFeature():
            return {"type": "boolean"}
        case CategoryFeature():
            if feature.strict:
                return {"type": "string", "enum": list(feature.categories)}
            names = ", ".join(feature.categories[:_SHOWN_CATEGORIES])
            more = ", ..." if len(feature.categories) > _SHOWN_CATEGORIES else ""
            return {"type": "string", "description": f"In training: {names}{more}"}
        case DateFeature():
            text = f"ISO 8601, without zone or in UTC; in training {feature.minimum} to {feature.maximum}"
            forms = [{"type": "string", "format": form} for form in ("date", "date-time")]
            return {"anyOf": forms, "description": text}
        case _:
            low, high = (feature.minimum, feature.maximum) if feature.strict else (-MAX_NUMBER, MAX_NUMBER)
            text = f"In training {feature.minimum:g} to {feature.maximum:g}"
            return {"type": "number", "minimum": low, "maximum": high, "description": text}
