"""The trace that a request belongs to, for whatever is said about the request: logs and problem details."""

from contextvars import ContextVar
from typing import Final, NamedTuple


class Trace(NamedTuple):
    """Ids of a request's server span, in hexadecimal as W3C Trace Context writes them."""

    trace_id: str
    """32 digits."""
    span_id: str
    """16 digits."""


TRACE: Final[ContextVar[Trace | None]] = ContextVar("trace", default=None)
"""Set around each request while traces are made (`service.tracing.spans`), else None."""
