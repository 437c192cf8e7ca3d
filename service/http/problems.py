"""Errors as problem details (RFC 9457): what was expected, what came, and where."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from service.http.correlation import TRACE

MEDIA_TYPE = "application/problem+json"
SHOWN_ERRORS = 20


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a request."""

    expected: str
    got: str
    instance: int | None = None
    """Number of the row, from 0."""
    field: str | None = None


class Problem(Exception):  # noqa: N818  # RFC 9457's own word
    """An answer that is an error, raised anywhere below the routes."""

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
        """Extension members, for clients that look for a protocol's own."""

    def body(self, more: Mapping[str, Any] | None = None) -> bytes:
        """Give the JSON document, with `more` members, and the request's trace if there is one."""
        document: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document |= {"errors": self.errors, "error_count": self.error_count}
        trace = TRACE.get()
        if trace is not None:
            document["trace_id"] = trace.trace_id
        return msgspec.json.encode(document | self.members | dict(more or {}))
