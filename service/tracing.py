"""Traces, where the environment names a collector of OpenTelemetry's.

FastAPI makes a span of each request, as the semantic conventions for HTTP say; routes add spans of their steps.
Spans go into a bounded queue, from which a thread of the SDK sends them: a collector that is slow or down costs
spans, and no request waits for it. Without a collector the SDK isn't even imported: 0.1 s and 12 MB.
"""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from fastapi import FastAPI
from opentelemetry.trace import get_current_span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.correlation import current_trace
from service.http.logs import AccessRecord
from service.settings import SettingsError

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig
    from opentelemetry.sdk.trace import TracerProvider

SERVICE: Final = "reproducible-ml"
"""Name of the service unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES give another one."""
SHUTDOWN_SECONDS: Final = 3.0
"""How long the end of the process waits at most for spans to be sent."""
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"

Note = Callable[[AccessRecord], None]


def start() -> "Tracing":
    """Return what traces, as the standard OTEL_ variables say; without an endpoint in them nothing is traced.

    Raises SettingsError if a variable is wrong, or the SDK isn't installed.
    """
    endpoint = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    is_off = _lower("OTEL_SDK_DISABLED") == "true" or _lower("OTEL_TRACES_EXPORTER") == "none"
    if endpoint is None or is_off:
        return Tracing(None)
    url = os.environ[endpoint]
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"{endpoint} is {url!r}; expected an URL such as http://127.0.0.1:4318")
    name = next((name for name in _PROTOCOLS if os.environ.get(name)), None)  # the one for traces overrides the other
    if name is not None and os.environ[name] != _PROTOCOL:
        raise SettingsError(f"{name} is {os.environ[name]!r}; only {_PROTOCOL} is sent, to port 4318 as a rule")
    try:
        return Tracing(_make_provider())
    except ImportError as error:
        raise SettingsError(
            f"{endpoint} is set, but OpenTelemetry's SDK is not installed; install it with `.venv/bin/python -m pip "
            "install --no-deps --require-hashes -r requirements/tracing.txt`, or unset the variable"
        ) from error
    except ValueError as error:
        raise SettingsError(f"OpenTelemetry refuses a variable that begins with OTEL_: {error}") from error


def _lower(name: str) -> str:
    return os.environ.get(name, "").strip().lower()


def _make_provider() -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    class HideQuery(SpanProcessor):
        def on_start(self, span: Span, parent_context: object = None) -> None:
            del parent_context
            if "url.query" in (span.attributes or {}):
                span.set_attribute("url.query", "REDACTED")  # it may hold a secret, such as an authorization code

    resource = Resource.create({"service.instance.id": uuid4().hex, "process.pid": os.getpid()})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # it would wait as long as it takes
    provider.add_span_processor(HideQuery())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """What the service is put together from, traced or not."""

    def __init__(self, provider: "TracerProvider | None") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("service") if provider else None
        self.telemetry: TelemetryConfig = {
            "tracing": provider is not None,
            "tracer_provider": provider,
            "operation_spans": False,  # of dependencies and the like
            "metrics": False,
            "logs": False,
            "auto_configure": False,
        }
        """What FastAPI is told."""

    def step(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with a span around each call, for requests whose trace is kept."""
        tracer = self._tracer
        if tracer is None:
            return function

        def span() -> AbstractContextManager[object]:
            return tracer.start_as_current_span(name) if get_current_span().is_recording() else nullcontext()

        def traced(*arguments: Any) -> Any:
            with span():
                return function(*arguments)

        async def traced_coroutine(*arguments: Any) -> Any:
            with span():
                return await function(*arguments)

        return traced_coroutine if iscoroutinefunction(function) else traced

    def noting(self, note: Note) -> Note:
        """Return `note` with the ids of the request's span."""

        def noted(answered: AccessRecord) -> None:
            trace = current_trace()
            if trace is not None:
                answered.trace_id, answered.span_id = trace
            note(answered)

        return noted if self._provider else note

    def instrument(self, app: FastAPI) -> None:
        """Write into each request's span what the access log has of it."""
        if self._provider is not None:
            app.add_middleware(_Describe)

    def stop(self) -> None:
        """Send what waits, for a while; a collector that hangs keeps the process no longer."""
        if self._provider is not None:
            sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
            sending.start()
            sending.join(SHUTDOWN_SECONDS)


class _Describe:
    """ASGI middleware; FastAPI ends a span with the answer, so this comes at its beginning."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def described(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {
                    "request.id": dict(message["headers"])[b"x-request-id"].decode(),
                    "model.version": scope["state"].get("version"),
                    "request.instances": scope["state"].get("instances"),
                }
                get_current_span().set_attributes({name: value for name, value in known.items() if value})
            await send(message)

        await self._app(scope, receive, described)
