"""Requests by method, route and class of status, and how long they took."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.metrics import Info

DURATION_BOUNDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
UNKNOWN: Final = ("OTHER", "none")
"""Method and route of requests for paths or with methods that don't exist."""


def instrument_requests(
    registry: CollectorRegistry, routes: Iterable[tuple[str, str]]
) -> Sequence[Callable[[Info], None]]:
    """Return the instrumentator's functions, which measure a request once it has ended; `routes` are all there are.

    `service.http.door` calls them for every route: the instrumentator's own middleware would match each request
    against all routes a second time (docs/decisions.md). Its own instruments take the method from the request, so
    that callers could make series, and begin a series with its first request, so that Prometheus misses an error.
    """
    known = sorted({*routes, UNKNOWN})
    requests = Counter("http_requests", "Requests answered.", ["method", "handler", "status"], registry=registry)
    seconds = Histogram(
        "http_request_duration_seconds",
        "Time from a request's first byte at the application to the answer's last.",
        ["method", "handler"],
        buckets=DURATION_BOUNDS,
        registry=registry,
    )
    inc = {(*route, status): requests.labels(*route, status).inc for route in known for status in STATUS_CLASSES}
    observe = {route: seconds.labels(*route).observe for route in known}

    def count(info: Info) -> None:
        route = info.method, info.modified_handler
        if route not in observe:
            route = UNKNOWN
        inc[(*route, info.modified_status)]()
        observe[route](info.modified_duration)

    return Instrumentator(registry=registry).add(count).instrumentations
