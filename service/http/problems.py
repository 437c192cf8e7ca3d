"""Errors as problem details (RFC 9457): what was expected, what came, and where."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.responses import Response

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


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818  # RFC 9457's own word
    """An error response; routes, and the functions that they call, raise it."""

    status: int
    detail: str
    _: KW_ONLY
    type: str = "about:blank"
    title: str | None = None
    """By default the status's own phrase."""
    errors: Sequence[FieldError] = ()
    error_count: int | None = None
    """Number of all errors, by default of `errors`."""
    headers: dict[str, str] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)
    """Extension members (RFC 9457, 3.2), such as `error` of the Open Inference Protocol."""

    def response(self) -> "Response":
        """Return the response with the JSON document, which has the request's trace if there is one."""
        from starlette.responses import Response  # noqa: PLC0415  # problems are also used without a server

        from service.http.tracing import current_trace  # noqa: PLC0415

        document: dict[str, Any] = {
            "type": self.type,
            "title": self.title or HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [
                {name: value for name, value in asdict(each).items() if value is not None} for each in self.errors
            ]
            document["error_count"] = self.error_count or len(self.errors)
        trace = current_trace()
        if trace is not None:
            document["trace_id"] = trace.trace_id
        return Response(orjson.dumps(document | self.members), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """Return the problem that reports `error` to the client; an unexpected error is a 500 without details."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        detail = _DETAILS.get(error.status_code, error.detail)
        return Problem(error.status_code, detail, headers=dict(error.headers or {}))
    return Problem(500, "The service failed; its log has the reason")
