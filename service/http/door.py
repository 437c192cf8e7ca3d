"""What every request has around it, whichever route answers it: the one middleware of the application."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from time import perf_counter, time
from typing import Final
from uuid import uuid4

from prometheus_fastapi_instrumentator.metrics import Info
from starlette.requests import Request
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.exchange import SECURITY_HEADERS, ClientGone
from service.http.logs import Answered, RequestIds
from service.http.problems import MEDIA_TYPE, Problem, problem_of

CLIENT_GONE: Final = 499
"""Status in metrics and log of a request whose caller left before it was answered; nothing is sent."""
_PROBES: Final = {"/metrics", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"}
"""Machines ask these every few seconds; they are logged only when they fail."""

_log = logging.getLogger(__name__)

Measure = Callable[[Info], None]


class Door:
    """ASGI middleware: request id, security headers, errors as problems, HEAD, metrics, access log.

    Parameters
    ----------
    routes
        All routes, for the header Allow.
    note
        Writes a request to the access log.
    measure
        Count a request once it has ended: the instrumentator's functions.
    in_progress
        Counts a request while it lasts.

    Notes
    -----
    Routes tell it more by `scope["state"]`: `user`, `version` of the model and number of `instances`.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[Route],
        note: Callable[[Answered], None],
        measure: Sequence[Measure],
        in_progress: AbstractContextManager[None],
    ) -> None:
        self._app = app
        self._routes = routes
        self._choose_id = RequestIds(uuid4().hex[:12]).choose
        self._note = note
        self._measure = measure
        self._in_progress = in_progress

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, complete its answer, count it and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        state = scope.setdefault("state", {})
        request_id = self._choose_id(dict(scope["headers"]).get(b"x-request-id"))
        exchange = _Exchange(send, request_id)
        with self._in_progress:
            await self._answer(scope, receive, exchange)
        seconds = perf_counter() - began
        route = getattr(scope.get("route"), "path", None)
        method, status = scope["method"], exchange.status
        info = Info(Request(scope), None, method, route or "none", f"{status // 100}xx", seconds)
        for measure in self._measure:
            measure(info)
        if route in _PROBES and status < HTTPStatus.BAD_REQUEST:
            return
        self._note(
            Answered(
                time(), request_id.decode(), state.get("user", ""), method, route or scope["path"], status, seconds,
                state.get("version", ""), state.get("instances", 0),
            )
        )  # fmt: skip

    async def _answer(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        has_body = scope["method"] != "HEAD"
        # HEAD is answered as a GET without its body (RFC 9110, 9.3.2), on every path.
        inner = scope if has_body else {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, exchange.send if has_body else exchange.send_head)
        except ClientGone:
            exchange.status = CLIENT_GONE
        except Exception as error:
            problem = self._problem(inner, error)
            if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                _log.exception("request %s failed", exchange.request_id.decode())
            if exchange.status:  # too late for another answer; uvicorn closes the connection
                raise
            await exchange.send_problem(problem, has_body=has_body)
        finally:
            scope["route"] = inner.get("route")

    def _problem(self, scope: Scope, error: Exception) -> Problem:
        problem = problem_of(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers["Allow"] = ", ".join(self._allowed_methods(scope))
        if scope["path"].startswith("/v2"):  # clients of the Open Inference Protocol look for the member `error`
            problem.members.setdefault("error", problem.detail)
        return problem

    def _allowed_methods(self, scope: Scope) -> list[str]:
        """Return every method that the path takes; Starlette names only those of the first route that fits."""
        fits = [route for route in self._routes if route.matches(scope)[0] is not Match.NONE]
        return sorted({method for route in fits for method in route.methods or ()})


class _Exchange:
    """One request's answer on its way out."""

    __slots__ = ("_send", "request_id", "status")

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send a message; complete the headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id)]
            present = {name for name, _ in headers}
            headers += [header for header in SECURITY_HEADERS if header[0] not in present]
        await self._send(message)

    async def send_head(self, message: Message) -> None:
        """Send a message without the body."""
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self.send(message)

    async def send_problem(self, problem: Problem, *, has_body: bool) -> None:
        """Send an error."""
        body = problem.body()
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()]
        headers += [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body if has_body else b""})
