"""The trace that a request belongs to, for logs and problem details."""

from typing import NamedTuple

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span


class Trace(NamedTuple):
    """Ids of the current span, in hexadecimal as W3C Trace Context writes them."""

    trace_id: str
    """32 digits."""
    span_id: str
    """16 digits."""


def current_trace() -> Trace | None:
    """Return the ids of the current request's span; None if the request isn't traced."""
    found = get_current_span().get_span_context()
    return Trace(format_trace_id(found.trace_id), format_span_id(found.span_id)) if found.is_valid else None
