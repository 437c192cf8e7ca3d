"""The middleware around every route: request id, headers, errors, metrics, access log."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from random import random
from time import perf_counter, time
from typing import Any, Final
from uuid import uuid4

from prometheus_fastapi_instrumentator.metrics import Info
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.exchange import SECURITY_HEADERS, ClientGone
from service.http.logs import AccessRecord, format_time
from service.http.problems import problem_of
from service.http.tracing import Tracing, current_trace

CLIENT_GONE: Final = 499
"""Status in metrics and log if the client disconnects before the response; nothing is sent."""
_PROBES: Final = {"/metrics", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"}
"""Monitoring requests these routes every few seconds; they are logged only when they fail."""
_SLOW_SECONDS: Final = 1.0
"""Requests that take this long are always logged."""

_log = logging.getLogger(__name__)

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_NO_REQUEST: Any = None
"""Stands for `Info.request`, which no measure function reads; creating a Request takes 1 µs."""

Measure = Callable[[Info], None]


@dataclass(eq=False)
class RequestMiddleware:
    """ASGI middleware that handles request ids, security headers, errors, HEAD, metrics and the access log.

    It sets `scope["state"]["headers"]`, a dictionary by lower-case name. Routes set `user`, `version` (of the model)
    and `instances` (their number) in `scope["state"]` for the access log.
    """

    app: ASGIApp
    routes: Sequence[Route]
    """All routes, for the Allow header."""
    tracing: Tracing
    """Adds attributes to a request's span."""
    log: Callable[[AccessRecord], None]
    """Adds a request to the access log."""
    sample: float | None
    """The share of requests that are logged; None for all. Errors and slow requests are always logged."""
    begin: Callable[[], None]
    """Counts a request as in progress."""
    measure: Sequence[Measure]
    """The instrumentator's functions; each measures a request that has ended."""

    def __post_init__(self) -> None:
        self._unique = uuid4().hex[:12].encode()
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, then measure and log the request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, method = perf_counter(), scope["method"]
        self.begin()
        state = scope.setdefault("state", {})
        state["headers"] = headers = dict(scope["headers"])
        state["request_id"] = request_id = self._choose_id(headers.get(b"x-request-id"))
        state["status"] = 0  # until the response begins

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                self.tracing.annotate(request_id, state)
                given = message.get("headers", ())
                names = {name for name, _ in given}
                missing = [header for header in SECURITY_HEADERS if header[0] not in names]
                message["headers"] = [*given, (b"x-request-id", request_id), *missing]
            await send(message)

        if method == "HEAD":  # answered as a GET, on every path; uvicorn leaves out the body
            scope = {**scope, "method": "GET"}
        try:
            await self.app(scope, receive, send_with_headers)
        except ClientGone:
            pass
        except Exception as error:  # noqa: BLE001  # each becomes a response
            await self._send_error(error, scope, receive, send_with_headers)
        finally:
            self._end(scope, method, perf_counter() - began)

    def _choose_id(self, given: bytes | None) -> bytes:
        """Return the client's request id if it is valid, else a new one."""
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return b"%s-%x" % (self._unique, next(self._numbers))

    async def _send_error(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an error as a problem; log it if it is unexpected.

        This isn't part of `__call__`: there, `problem` and the frame in its traceback would refer to each other and
        keep the request body in memory.
        """
        problem = problem_of(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers["Allow"] = ", ".join(self._allowed_methods(scope))
        if scope["path"].startswith("/v2"):  # clients of the Open Inference Protocol read the member `error`
            problem.members.setdefault("error", problem.detail)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("request %s failed", scope["state"]["request_id"].decode(), exc_info=error)
        if scope["state"][
            "status"
        ]:  # the response has begun, so that no other can be sent; uvicorn closes the connection
            raise error
        await problem.response()(scope, receive, send)

    def _end(self, scope: Scope, method: str, seconds: float) -> None:
        """Measure and log a request."""
        state = scope["state"]
        status = state["status"] or CLIENT_GONE
        route = getattr(scope.get("route"), "path", None)
        info = Info(_NO_REQUEST, None, method, route or "none", f"{status // 100}xx", seconds)
        for measure in self.measure:
            measure(info)
        if route in _PROBES and status < HTTPStatus.BAD_REQUEST:
            return
        sample = self.sample
        if sample is not None:
            if status >= HTTPStatus.BAD_REQUEST or seconds >= _SLOW_SECONDS:
                sample = None
            elif random() >= sample:  # noqa: S311  # no secret
                return
        trace = current_trace() if self.tracing.is_on else None
        self.log(
            AccessRecord(
                format_time(time()), "info", "request", state["request_id"].decode(), state.get("user"), method,
                route or scope["path"], status, round(seconds * 1000, 3), state.get("version"),
                state.get("instances", 0), *(trace or ("", "")), sample,
            )
        )  # fmt: skip

    def _allowed_methods(self, scope: Scope) -> list[str]:
        """Return the methods of all routes with this path; Starlette names only those of the first one."""
        matching = [route for route in self.routes if route.matches(scope)[0] is not Match.NONE]
        return sorted({method for route in matching for method in route.methods or ()})
