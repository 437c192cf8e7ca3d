"""A collector of traces: takes OTLP over HTTP on port 4318, tells on 16686 what came, one span a line."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]  # has no stubs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS: list[str] = []


class Collector(BaseHTTPRequestHandler):
    """Keeps what is sent."""

    def do_POST(self) -> None:
        """Take spans, packed as they come."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(content)
        SPANS.extend(
            MessageToJson(span, indent=None)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        )
        self._answer(b"")

    def do_GET(self) -> None:
        """Tell the spans."""
        self._answer("\n".join(SPANS).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    for port in (4318, 16686):
        threading.Thread(target=ThreadingHTTPServer(("", port), Collector).serve_forever).start()
