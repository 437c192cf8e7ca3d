"""A collector of OpenTelemetry: takes OTLP over HTTP as the protocol's own messages describe it."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

SERVER = 2
"""SPAN_KIND_SERVER."""


@dataclass(frozen=True)
class Span:
    """A span as it came."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    status: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """Keeps what comes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.spans: list[Span] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        message = ExportTraceServiceRequest.FromString(body)
        found = [
            _span(each, _values(block.resource.attributes))
            for block in message.resource_spans
            for scope in block.scope_spans
            for each in scope.spans
        ]
        self.headers.append(headers)
        self.spans.extend(found)

    def server_spans(self) -> list[Span]:
        return [span for span in self.spans if span.kind == SERVER]

    def one(self, name: str, seconds: float = 10.0) -> Span:
        """Wait for a request's span; there must be one of this name."""
        deadline = time.monotonic() + seconds
        while not (found := [span for span in self.server_spans() if span.name == name]):
            assert time.monotonic() < deadline, f"no {name} among {[span.name for span in self.spans]}"
            time.sleep(0.01)
        (span,) = found
        return span

    def steps(self, parent: Span) -> dict[str, Span]:
        """Return the spans inside a span."""
        found = [span for span in self.spans if span.parent_id == parent.span_id]
        assert len({span.name for span in found}) == len(found)
        return {span.name: span for span in found}


def _span(span: Any, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        status=span.status.code,
        attributes=_values(span.attributes),
        resource=resource,
    )


def _values(pairs: Any) -> dict[str, Any]:
    def value(pair: KeyValue) -> Any:
        kind = pair.value.WhichOneof("value")
        return getattr(pair.value, kind) if kind else None

    return {pair.key: value(pair) for pair in pairs}


@contextlib.contextmanager
def collecting(status: int = 200) -> Iterator[Collector]:
    """Run a collector that answers with this status."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["Content-Length"])), dict(self.headers))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector = Collector(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
