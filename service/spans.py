"""Spans of OpenTelemetry: one for each request, and within /predict for decode, validate, infer and encode.

Imported only where traces are wanted (`service.tracing`). Names are those of the semantic
conventions for HTTP, https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
Spans go into a bounded queue, from which a thread of the SDK sends them: a collector that
is slow or down costs spans, and no request waits for it.
"""

import os
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from time import time_ns
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from opentelemetry import propagate
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from service.correlation import TRACE, Trace
from service.counters import Counters
from service.logs import Answered
from service.rows import RowReader, Values
from service.serving import Scored, Served
from service.together import Together

if TYPE_CHECKING:
    from service.artifact import Artifact
    from service.rows import Encoded

SERVICE: Final = "reproducible-ml"
"""Name of the service unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES give another one."""
SHUTDOWN_SECONDS: Final = 3.0
"""How long the end of the process waits at most for spans to be sent."""
METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_SERVER_ERROR: Final = 500

_decoded: ContextVar[int] = ContextVar("decoded", default=0)
"""When the request's text was decoded and its values began to be looked at, ns since 1970."""
_table: ContextVar["_Table | None"] = ContextVar("table", default=None)


def start() -> "Tracing":
    """Make a tracer as the standard OTEL_ variables of the process's environment say."""
    resource = Resource.create({"service.instance.id": uuid4().hex, "process.pid": os.getpid()})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # it would wait as long as it takes
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


class Tracing:
    """What the service is put together from where it is traced."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("service")

    def requests(self, app: ASGIApp, route: str | None = None) -> ASGIApp:
        """Make a span around each request to `app`; its `route` is asked of the router if it is not given."""
        return _Requests(app, self._tracer, route)

    def served(self, artifact: "Artifact", counters: Counters) -> Served:
        """Make an artifact ready, with a span for each step of a prediction."""
        return _Served(artifact, counters, self._tracer)

    def tables(self, kinds: Mapping[bytes, Callable[..., Any]]) -> dict[bytes, Callable[..., Any]]:
        """Make one span for each table, however long, instead of one for each step of each block."""
        return {kind: self._table(table) for kind, table in kinds.items()}

    def noting(self, note: Callable[[Answered], None]) -> Callable[[Answered], None]:
        """Note a request in the access log with its trace, and in its span what the access log tells."""

        def noted(answered: Answered) -> None:
            span = get_current_span()
            if span.is_recording():
                _describe(span, answered)
            trace = TRACE.get()
            note(answered if trace is None else answered._replace(trace_id=trace.trace_id, span_id=trace.span_id))

        return noted

    def stop(self) -> None:
        """Send what waits, for a while; a collector that hangs keeps the process no longer."""
        sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(SHUTDOWN_SECONDS)

    def _table(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        async def answer_traced(served: Served, *rest: Any) -> int:
            table = _Table()
            with self._tracer.start_as_current_span(
                "table", record_exception=False, set_status_on_exception=False
            ) as span:
                token = _table.set(table)
                try:
                    rows: int = await answer(served, *rest)
                    span.set_attribute("table.rows", rows)
                finally:
                    _table.reset(token)
                    span.set_attributes({"table.blocks": table.blocks, "infer.seconds": table.infer_ns / 1e9})
            return rows

        return answer_traced


class _Requests:
    """ASGI middleware, outermost."""

    def __init__(self, app: ASGIApp, tracer: Tracer, route: str | None) -> None:
        self._app = app
        self._tracer = tracer
        self._route = route
        self._propagator = propagate.get_global_textmap()
        self._carried = {name.encode("latin-1") for name in self._propagator.fields}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within a span of its own, which continues the caller's trace if there is one."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        carrier = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in self._carried
        }
        caller = self._propagator.extract(carrier, Context()) if carrier else Context()
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        name = f"{method} {self._route}" if self._route else method
        span = self._tracer.start_span(name, caller, SpanKind.SERVER, _asked(scope, method))
        found = span.get_span_context()
        token = attach(set_span_in_context(span, caller))
        correlated = TRACE.set(Trace(format_trace_id(found.trace_id), format_span_id(found.span_id)))
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", type(error).__qualname__)
            raise
        finally:
            route = self._route or getattr(scope.get("route"), "path", None)
            if route is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            TRACE.reset(correlated)
            detach(token)
            span.end()


def _asked(scope: Scope, method: str) -> dict[str, str | int]:
    """Describe a request; its query stays out, and so do headers with secrets."""
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
    }
    client, server = scope.get("client"), scope.get("server")
    if client:
        attributes["client.address"] = client[0]
    if server:
        attributes["server.address"] = server[0]
        if server[1] is not None:
            attributes["server.port"] = server[1]
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), None)
    if agent is not None:
        attributes["user_agent.original"] = agent.decode("latin-1")
    return attributes


def _describe(span: Span, answered: Answered) -> None:
    """Say in a request's span what became of it."""
    attributes: dict[str, str | int] = {
        "http.response.status_code": answered.status,
        "request.id": answered.request_id,
    }
    if answered.version:
        attributes["model.version"] = answered.version
    if answered.instances:
        attributes["request.instances"] = answered.instances
    if answered.status >= _SERVER_ERROR:
        attributes["error.type"] = str(answered.status)
        span.set_status(StatusCode.ERROR)
    span.set_attributes(attributes)


def _run(version: str, requests: int, rows: int) -> dict[str, str | int]:
    """Describe a run of the model."""
    return {"model.version": version, "batch.size": requests, "batch.rows": rows}


@dataclass(slots=True)
class _Table:
    """What the blocks of a table took together."""

    blocks: int = 0
    infer_ns: int = 0


class _Steps:
    """Makes spans of steps that are over, within the span of the request that is being answered."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @staticmethod
    def wanted() -> bool:
        """Tell whether there is a request, and its trace is kept."""
        return get_current_span().is_recording()

    def note(
        self, name: str, began: int, ended: int | None = None, attributes: Mapping[str, str | int] | None = None
    ) -> None:
        """Make the span of a step, from and to a time in ns since 1970, now if it is not given."""
        self._tracer.start_span(name, start_time=began, attributes=attributes).end(ended)


class _Reader(RowReader):
    """Reads rows, with spans for decoding and for the look at names, types and categories."""

    def __init__(self, served: Served, steps: _Steps) -> None:
        super().__init__(served.contract)
        self._steps = steps

    def decode(self, body: bytes) -> list[Any]:
        """Give a request's rows."""
        if not self._steps.wanted():
            return super().decode(body)
        began = time_ns()
        try:
            return super().decode(body)
        finally:
            ended = time_ns()
            _decoded.set(ended)
            self._steps.note("decode", began, ended)

    def quick_values(self, body: bytes) -> Values | None:
        """Give the numbers of a request in which nothing is odd at first sight, or None."""
        if not self._steps.wanted():
            return super().quick_values(body)
        values = super().quick_values(body)
        self._steps.note("validate", _decoded.get())
        return values


class _Served(Served):
    """An artifact whose steps are seen."""

    def __init__(self, artifact: "Artifact", counters: Counters, tracer: Tracer) -> None:
        self._steps = _Steps(tracer)
        super().__init__(artifact, counters)
        self.reader = _Reader(self, self._steps)
        if self.together is not None:
            self.together = _Together(self, self._steps)

    def read(self, body: bytes, limit: int = 256) -> "Encoded":
        """Read a request's instances."""
        if not self._steps.wanted():
            return super().read(body, limit)
        _decoded.set(time_ns())
        try:
            return super().read(body, limit)
        finally:
            self._steps.note("validate", _decoded.get())

    def score(self, encoded: "Encoded") -> Scored:
        """Score rows."""
        if not self._steps.wanted():
            return super().score(encoded)
        began = time_ns()
        scored = super().score(encoded)
        table = _table.get()
        if table is None:
            self._steps.note("infer", began, attributes=_run(self.version, 1, len(encoded.numbers)))
        else:
            table.blocks += 1
            table.infer_ns += time_ns() - began
        return scored

    def answer(self, scored: Scored) -> bytes:
        """Give the JSON document of an answer."""
        if not self._steps.wanted():
            return super().answer(scored)
        began = time_ns()
        document = super().answer(scored)
        self._steps.note("encode", began)
        return document


@dataclass(slots=True)
class _Batch:
    """Requests scored together."""

    began: int = 0
    ended: int = 0
    size: int = 0
    """Requests."""
    rows: int = 0


class _Together(Together):
    """Scores small requests together; each gets a span of its own over the run of the model that it shared."""

    def __init__(self, served: Served, steps: _Steps) -> None:
        super().__init__(served)
        self._steps = steps
        self._version = served.version
        self._batch = _Batch()

    async def score(self, values: Values, body: bytes) -> Scored:
        """Score and count rows with whatever else has come."""
        batch = self._batch
        try:
            return await super().score(values, body)
        finally:
            if batch.ended and self._steps.wanted():
                self._steps.note("infer", batch.began, batch.ended, _run(self._version, batch.size, batch.rows))

    def _score(self) -> None:
        batch, self._batch = self._batch, _Batch()
        batch.size, batch.rows = len(self._waiting), sum(len(values) for values, _, _ in self._waiting)
        batch.began = time_ns()
        # This runs in the first request's context; what is done for all is no step of that one.
        token = attach(_NO_SPAN)
        try:
            super()._score()
        finally:
            detach(token)
            batch.ended = time_ns()


_NO_SPAN: Final = set_span_in_context(INVALID_SPAN, Context())
