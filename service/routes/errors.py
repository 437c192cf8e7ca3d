"""Describe error responses in the OpenAPI document, in the same way for every operation."""

from typing import Any, Final

from pydantic import BaseModel, Field

from service.http.problems import MEDIA_TYPE, SHOWN_ERRORS, FieldError

Responses = dict[int | str, dict[str, Any]]

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
BODY: Final = (400, 408, 413, 415, 422)
"""The statuses for a bad request body."""


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


def errors(*statuses: int, also: dict[int, str] | None = None) -> Responses:
    """Describe these statuses and 500; `also` adds statuses with another description."""
    meanings = {status: _MEANINGS[status] for status in (*statuses, 500)} | (also or {})
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in meanings.items()}
