"""Send traces to an OpenTelemetry collector, if the environment names one; name a request's trace in logs and errors.

FastAPI creates a span for each request, with the attributes of OpenTelemetry's HTTP conventions; routes add a span
for each step. The SDK sends spans from a limited queue in a thread: if the collector is slow or down, spans are lost,
but no request waits. Without a collector the SDK isn't imported, which saves 0.1 s and 12 MB.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import uuid4

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig
    from opentelemetry.sdk.trace import TracerProvider

SERVICE: Final = "reproducible-ml"
"""Default service name; OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES override it."""
SHUTDOWN_SECONDS: Final = 3.0
"""How long a process that stops waits at most for its last spans to be sent."""
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"


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


def configure() -> "Tracing":
    """Return the tracing that the standard OTEL_ variables configure. Without an endpoint nothing is traced.

    Raises SettingsError if a variable is wrong, or the SDK isn't installed.
    """
    from service.settings import SettingsError  # noqa: PLC0415  # problems are also used where there are no settings

    endpoint, protocol = _first_set(ENDPOINTS), _first_set(_PROTOCOLS)
    is_off = _lower("OTEL_SDK_DISABLED") == "true" or _lower("OTEL_TRACES_EXPORTER") == "none"
    if endpoint is None or is_off:
        return Tracing(None)
    url = os.environ[endpoint]
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"{endpoint} is {url!r}; expected a URL such as http://127.0.0.1:4318")
    if protocol is not None and (value := os.environ[protocol]) != _PROTOCOL:
        raise SettingsError(f"{protocol} is {value!r}; only {_PROTOCOL} is supported, usually on port 4318")
    try:
        return Tracing(_make_provider())
    except ImportError as error:
        raise SettingsError(
            f"{endpoint} is set, but OpenTelemetry's SDK is not installed; install it with `.venv/bin/python -m pip "
            "install --no-deps --require-hashes -r requirements/tracing.txt`, or unset the variable"
        ) from error
    except ValueError as error:
        raise SettingsError(f"OpenTelemetry refuses a variable that begins with OTEL_: {error}") from error


def _first_set(names: Iterable[str]) -> str | None:
    return next((name for name in names if os.environ.get(name)), None)


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
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # at exit it would wait without a limit
    provider.add_span_processor(HideQuery())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """Adds spans and trace ids to the service; without a `provider` it changes nothing."""

    def __init__(self, provider: "TracerProvider | None") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("service") if provider else None
        self.is_on = provider is not None
        self.telemetry: TelemetryConfig = {
            "tracing": self.is_on,
            "tracer_provider": provider,
            "operation_spans": False,  # for dependencies, serialisation and similar
            "metrics": False,
            "logs": False,
            "auto_configure": False,
        }
        """The application's argument `telemetry`."""

    def with_span(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, which may be asynchronous, with a span around each call."""
        return self._tracer.start_as_current_span(name)(function) if self._tracer else function

    def annotate(self, request_id: bytes, state: Mapping[str, Any]) -> None:
        """Add the request's id, model version and number of instances to its span."""
        if self.is_on:
            known = {
                "request.id": request_id.decode(),
                "model.version": state.get("version"),
                "request.instances": state.get("instances"),
            }
            get_current_span().set_attributes({name: value for name, value in known.items() if value})

    def stop(self) -> None:
        """Send the last spans, for SHUTDOWN_SECONDS at most, even if the collector hangs."""
        if self._provider is not None:
            sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
            sending.start()
            sending.join(SHUTDOWN_SECONDS)
