"""Spans of OpenTelemetry: one for each request, and within it one for each step: decode, infer and encode, or table.

Imported only where traces are wanted (`service.tracing.setup`). Names are those of the semantic
conventions for HTTP, https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
Spans go into a bounded queue, from which a thread of the SDK sends them: a collector that
is slow or down costs spans, and no request waits for it.
"""

import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Final
from uuid import uuid4

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, format_span_id, format_trace_id, set_span_in_context
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.correlation import TRACE, Trace
from service.http.logs import Answered

SERVICE: Final = "reproducible-ml"
"""Name of the service unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES give another one."""
SHUTDOWN_SECONDS: Final = 3.0
"""How long the end of the process waits at most for spans to be sent."""
METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_SERVER_ERROR: Final = 500

_SPAN: Final[ContextVar[Span | None]] = ContextVar("span", default=None)
"""Of a request whose trace is kept."""


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

    def requests(self, app: ASGIApp, route: str | None = None) -> ASGIApp:
        """Make a span around each request to `app`; its `route` is asked of the router if it is not given."""
        return _Requests(app, self._provider, route)

    def noting(self, note: Callable[[Answered], None]) -> Callable[[Answered], None]:
        """Note a request in the access log with its trace, and in its span what the access log tells."""

        def noted(answered: Answered) -> None:
            span, trace = _SPAN.get(), TRACE.get()
            if span is not None:
                _describe(span, answered)
            note(answered if trace is None else Answered(*answered[:-2], *trace))

        return noted

    def stop(self) -> None:
        """Send what waits, for a while; a collector that hangs keeps the process no longer."""
        sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(SHUTDOWN_SECONDS)


class _Requests:
    """ASGI middleware, outermost."""

    def __init__(self, app: ASGIApp, provider: TracerProvider, route: str | None) -> None:
        self._app = app
        self._tracer = provider.get_tracer("service")
        self._route = route
        self._propagator = propagate.get_global_textmap()
        self._carried = {name.encode("latin-1") for name in self._propagator.fields}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within a span of its own, which continues the caller's trace if there is one."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        name = f"{method} {self._route}" if self._route else method
        span = self._tracer.start_span(name, self._caller(scope), SpanKind.SERVER)
        found = span.get_span_context()
        trace = TRACE.set(Trace(format_trace_id(found.trace_id), format_span_id(found.span_id)))
        try:
            if span.is_recording():
                await self._record(span, method, scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            TRACE.reset(trace)

    def _caller(self, scope: Scope) -> Context:
        carried = [pair for pair in scope["headers"] if pair[0] in self._carried]
        if not carried:
            return Context()
        return self._propagator.extract({name.decode(): value.decode("latin-1") for name, value in carried}, Context())

    async def _record(self, span: Span, method: str, scope: Scope, receive: Receive, send: Send) -> None:
        span.set_attributes(_asked(scope, method))  # after the start, so that what is not kept does not pay for it
        recorded = _SPAN.set(span)
        context = set_span_in_context(span)
        scope.setdefault("state", {})["step"] = partial(self._tracer.start_as_current_span, context=context)
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", type(error).__qualname__)
            raise
        finally:
            _SPAN.reset(recorded)
            route = self._route or getattr(scope.get("route"), "path", None)
            if route is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
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
