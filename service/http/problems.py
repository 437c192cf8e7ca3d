"""Errors as problem details (RFC 9457): what was expected, what came, and where."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.http.tracing import current_trace

MEDIA_TYPE = "application/problem+json"
SHOWN_ERRORS = 20
"""How many errors a response lists; `error_count` counts all."""
_DETAILS: Final = {
    404: "No route has this path; /docs lists all routes",
    405: "This path does not allow this method; the Allow header lists the allowed ones",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error in a request, as a response lists it."""

    expected: str
    got: str
    instance: int | None = None
    """Index of the row, from 0."""
    field: str | None = None


class Problem(Exception):  # noqa: N818  # RFC 9457's own word
    """An error response; routes, and the functions that they call, raise it."""

    def __init__(  # noqa: PLR0913  # the members that RFC 9457 names
        self,
        status: int,
        detail: str,
        *,
        type: str = "about:blank",  # noqa: A002  # the member's name
        title: str | None = None,
        errors: Sequence[FieldError] = (),
        error_count: int | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
        shown: int = SHOWN_ERRORS,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.type = type
        self.title = title or HTTPStatus(status).phrase
        self.errors = tuple(errors[:shown])
        self.error_count = len(errors) if error_count is None else error_count
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        """Extension members (RFC 9457, 3.2), such as `error` of the Open Inference Protocol."""

    def body(self) -> bytes:
        """Return the JSON document, with the request's trace if there is one."""
        document: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            errors = [
                {name: value for name, value in asdict(each).items() if value is not None} for each in self.errors
            ]
            document |= {"errors": errors, "error_count": self.error_count}
        trace = current_trace()
        if trace is not None:
            document["trace_id"] = trace.trace_id
        return orjson.dumps(document | self.members)


def problem_of(error: Exception) -> Problem:
    """Return the problem that reports `error` to the client; an unexpected error is a 500 without details."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return Problem(error.status_code, _DETAILS.get(error.status_code, str(error.detail)), headers=error.headers)
    if isinstance(error, RequestValidationError):
        errors = [
            FieldError(field=".".join(map(str, each["loc"])), expected=each["msg"], got="something else")
            for each in error.errors()
        ]
        return Problem(422, "The request is not valid", errors=errors)
    return Problem(500, "The service failed; its log has the reason")
