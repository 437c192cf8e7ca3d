"""Request id, security headers and access log for every path but the hot one, which has its own."""

import logging
from http import HTTPStatus
from time import perf_counter, time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.exchange import SECURITY_HEADERS
from service.http.logs import AccessLog, Answered, RequestIds

_log = logging.getLogger(__name__)
_PROBES: Final = {"/metrics", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"}
"""Asked every few seconds by machines, and logged only where the answer is another than they hope for."""


class Envelope:
    """ASGI middleware; stands outermost, so that errors pass through it too."""

    def __init__(self, app: ASGIApp, access_log: AccessLog, request_ids: RequestIds) -> None:
        self._app = app
        self._note = access_log.note
        self._choose_id = request_ids.choose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; add to its answer; log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = self._choose_id(given)
        state = scope.setdefault("state", {})
        status = 0

        method: str = scope["method"]
        head = method == "HEAD"
        # Answered as a GET without its body (RFC 9110, 9.3.2), on every path.
        inner = {**scope, "method": "GET"} if head else scope

        async def send_more(message: Message) -> None:
            nonlocal status
            if head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
                present = {name for name, _ in headers}
                headers += [header for header in SECURITY_HEADERS if header[0] not in present]
            await send(message)

        try:
            await self._app(inner, receive, send_more)
        except Exception:
            # The answer, a problem with status 500, was sent where the error was met; here it is told.
            _log.exception("request %s failed", request_id.decode())
            if not status:
                raise
        scope["route"] = inner.get("route")
        route = str(getattr(scope["route"], "path", scope["path"]))
        if route in _PROBES and status < HTTPStatus.BAD_REQUEST:
            return
        user: str = state.get("user", "")
        self._note(
            Answered(
                time(), request_id.decode(), user, method, route, status, perf_counter() - began,
                state.get("version", ""), state.get("instances", 0),
            )
        )  # fmt: skip
