"""The API's description: the fields of the model in service, with an example that works."""

import re
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi

from service.cells import Reading
from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature
from service.http.problems import MEDIA_TYPE
from service.inputs.readers import MAX_NUMBER
from service.scoring.serving import Served, class_name

if TYPE_CHECKING:
    from fastapi import FastAPI

Schema = dict[str, Any]

_DAYS: Final = (
    r"[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])",
    r"[1-9]\d{3}-(0[13-9]|1[0-2])-(29|30)",
    r"[1-9]\d{3}-(0[13578]|1[02])-31",
    r"([1-9]\d(0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29",
)
_TIME: Final = rf"^({'|'.join(_DAYS)})T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{{1,6}})?Z?$"
_SHOWN_CATEGORIES: Final = 50
_ERRORS: Final = {
    400: "The body is not JSON",
    401: "No token, or one that does not count",
    403: "The token lacks the scope",
    408: "The body was too slow",
    413: "The body or the number of instances is too large",
    415: "The body is of a kind that is not taken",
    422: "The instances do not fit the model's contract; every error is named",
    500: "The service failed",
    503: "The service cannot check tokens yet",
    507: "No room is left on the disk for the answer to a table",
}
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "Problem details (RFC 9457)",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
        "error_count": {
            "type": "integer",
            "description": "Errors found until reading ended; `errors` names the first 20",
        },
    },
}
_FIELD_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["expected", "got"],
    "properties": {
        "expected": {"type": "string"},
        "got": {"type": "string"},
        "instance": {"type": "integer", "description": "Number of the instance or row, from 0"},
        "field": {"type": "string"},
    },
}


def describe(app: "FastAPI", served: Served) -> Schema:
    """Give the OpenAPI document for the model in service."""
    kept: dict[str, Schema] = app.state.openapi_of_version
    if served.version not in kept:
        kept.clear()
        kept[served.version] = _describe(app, served)
    return kept[served.version]


def _describe(app: "FastAPI", served: Served) -> Schema:
    document: Schema = get_openapi(
        title=f"Predictions of {served.artifact.name}",
        version=served.version[:12],
        summary=f"Predicts {served.contract.target!r}",
        routes=app.routes,
    )
    document["paths"]["/predict"] = {"post": _predict()}
    components = document.setdefault("components", {})
    components["securitySchemes"] = _security_schemes(app.state.settings.oidc_issuer)
    schemas = components.setdefault("schemas", {})
    schemas |= {
        "Problem": _PROBLEM,
        "FieldError": _FIELD_ERROR,
        "Instance": instance(served),
        "PredictRequest": _request(served),
        "PredictResponse": _response(served.contract),
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete(operation, components["securitySchemes"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _security_schemes(issuer: str | None) -> Schema:
    scopes = {"predict": "Predict", "admin": "Administer users"}
    schemes: Schema = {
        "token": {"type": "oauth2", "flows": {"password": {"tokenUrl": "token", "scopes": scopes}}},
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    if issuer:
        address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        schemes["single_sign_on"] = {"type": "openIdConnect", "openIdConnectUrl": address}
    return schemes


def _complete(operation: Schema, schemes: Schema) -> None:
    """State the form of errors, and the ways to authenticate, once for all operations."""
    if "security" in operation:
        operation["security"] = [*operation["security"], *({name: []} for name in schemes if name != "token")]
    responses = operation["responses"]
    responses.setdefault("500", {"description": _ERRORS[500]})
    for status, response in responses.items():
        content = response.get("content", {}).get("application/json", {}).get("schema", {})
        if int(status) >= 400 and (not content or "HTTPValidationError" in content.get("$ref", "")):  # noqa: PLR2004
            response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _predict() -> Schema:
    table = {"schema": {"type": "string", "description": "A row per line, the answer in the same form"}}
    return {
        "summary": "Predict",
        "description": (
            "Instances as JSON, or a table of any length as CSV (with a line of names) or NDJSON, "
            "answered in the same form."
        ),
        "operationId": "predict",
        "tags": ["model"],
        "security": [{"token": ["predict"]}],
        "parameters": [
            {
                "name": "ids",
                "in": "query",
                "description": (
                    "true: the answer names each prediction, for POST /feedback; a table's in a column or member "
                    "prediction_id"
                ),
                "schema": {"type": "boolean"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}},
                "text/csv": table,
                "application/x-ndjson": table,
            },
        },
        "responses": {
            "200": {
                "description": "A prediction for each instance, in order",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/PredictResponse"}},
                    "text/csv": {"schema": {"type": "string"}},
                    "application/x-ndjson": {"schema": {"type": "string"}},
                },
            },
            **{str(status): {"description": text} for status, text in _ERRORS.items()},
        },
    }


def _request(served: Served) -> Schema:
    return {
        "type": "object",
        "required": ["instances"],
        "additionalProperties": False,
        "properties": {
            "instances": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Instance"}}
        },
        "example": {"instances": [served.example]},
    }


def instance(served: Served) -> Schema:
    """Describe one row."""
    features = served.contract.features
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [feature.name for feature in features if not feature.nullable],
        "properties": {feature.name: _field(feature, served.contract.reading) for feature in features},
        "example": served.example,
    }


def _field(feature: Feature, reading: Reading) -> Schema:
    schema = _value(feature)
    if not feature.nullable:
        if feature.type == "category":  # a text that means "no value" is none here
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
            forms = [{"type": "string", "format": "date"}, {"type": "string", "pattern": _TIME}]
            return {"anyOf": forms, "description": text}
        case _:
            low, high = (feature.minimum, feature.maximum) if feature.strict else (-MAX_NUMBER, MAX_NUMBER)
            text = f"In training {feature.minimum:g} to {feature.maximum:g}"
            return {"type": "number", "minimum": low, "maximum": high, "description": text}


def _response(contract: Contract) -> Schema:
    properties: Schema = {
        "predictions": {"type": "array", "items": _prediction(contract)},
        "model": {
            "type": "object",
            "required": ["name", "version"],
            "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
        },
        "warnings": {
            "type": "array",
            "description": "Values beyond those of training, answered all the same; left out where there are none",
            "items": {
                "type": "object",
                "required": ["instance", "field", "kind"],
                "properties": {
                    "instance": {"type": "integer"},
                    "field": {"type": "string"},
                    "kind": {"enum": ["unseen_category", "out_of_range"]},
                },
            },
        },
    }
    optional = {"warnings", "prediction_ids"}
    properties["prediction_ids"] = {
        "type": "array",
        "description": "With ?ids=true: what POST /feedback and `python -m service.lineage` know each prediction by",
        "items": {"type": "string"},
    }
    if contract.classes:
        names = [class_name(label) for label in contract.classes]
        each = {
            "type": "object",
            "required": names,
            "properties": {name: {"type": "number", "minimum": 0, "maximum": 1} for name in names},
        }
        properties["probabilities"] = {"type": "array", "items": each}
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def _prediction(contract: Contract) -> Schema:
    return {"enum": list(contract.classes)} if contract.classes else {"type": "number"}
