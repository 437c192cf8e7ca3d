"""Count requests by method, route and status class, and measure how long they take."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.metrics import Info

from service.instruments.families import Histogram

DURATION_BOUNDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
UNKNOWN: Final = ("OTHER", "none")
"""Method and route of requests for paths or with methods that don't exist."""


class RequestInstruments:
    """Measures requests; `service.http.middleware` calls it when a request begins and ends.

    The instrumentator's own middleware would match each request against all routes a second time
    (docs/explanation/decisions.md). Its own instruments take the method from the request, so callers could create
    series, and begin a series with its first request, so Prometheus would miss a first error.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.measure: Sequence[Callable[[Info], None]] = (
            Instrumentator(registry=registry).add(self._count).instrumentations
        )
        """The instrumentator's functions; call them for each request that has ended."""
        labels = ["method", "handler"]
        self._requests = Counter("http_requests", "Requests answered.", [*labels, "status"], registry=registry)
        text = "Time from the request's first byte to the response's last."
        self._seconds = Histogram(
            "http_request_duration_seconds", text, labels, buckets=DURATION_BOUNDS, registry=registry
        )
        text = "Requests that are not answered yet."
        self._in_progress = Gauge("http_requests_inprogress", text, multiprocess_mode="livesum", registry=registry)
        self._inc: dict[tuple[str, str, str], Callable[[], None]] = {}
        self._begun = 0
        self._ended: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def begin_series(self, routes: Iterable[tuple[str, str]]) -> None:
        """Begin the series of all routes at zero. Each route is a method and a path."""
        for route in {*routes, UNKNOWN}:
            self._seconds.labels(*route)
            for status in STATUS_CLASSES:
                self._inc[(*route, status)] = self._requests.labels(*route, status).inc

    def begin(self) -> None:
        """Count a request as in progress until it is measured."""
        self._begun += 1

    def _count(self, info: Info) -> None:
        self._begun -= 1
        method, handler, status = info.method, info.modified_handler, info.modified_status
        if (method, handler, status) not in self._inc:
            method, handler = UNKNOWN
        self._inc[method, handler, status]()
        self._ended[method, handler].append(info.modified_duration)

    def flush(self) -> None:
        """Add the collected durations to the histogram, and set the gauge."""
        ended, self._ended = self._ended, defaultdict(list)
        for route, seconds in ended.items():
            self._seconds.labels(*route).observe_all(seconds)
        self._in_progress.set(self._begun)
