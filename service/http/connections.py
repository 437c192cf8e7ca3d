"""HTTP connections that a slow or silent client cannot hold for ever.

uvicorn ends a connection that stays idle after an answer, but waits without limit for a
request's first byte, for its end, and for a client that does not read.
"""

import asyncio
import re
import resource
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NoReturn

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.http.problems import MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

WINDOW_SECONDS: Final = 10.0
"""A request's head must arrive within this time, and its body keep coming."""
BODY_BYTES: Final = 10_240
"""What must come of a body in each window at least."""
MAX_HEAD_BYTES: Final = 65_536
"""Of a request line and its headers together."""
STALLED_SECONDS: Final = 60.0
"""How long a client may not read its answer."""
LINGER_SECONDS: Final = 0.25
"""At a stop: how long a connection may still bring the request that was already on its way."""
SPARE_FILES: Final = 64
"""Files that connections leave to everything else: the database, the log, the artifact."""
MAX_CONNECTIONS: Final = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES
"""Beyond these a new connection takes the place of the oldest that has not asked for anything yet."""


class State(ServerState):
    """What the connections of one server share."""

    stopping = False
    """True from the stop on: uvicorn tells only the connections that it knows at that moment."""


class Connection(HttpToolsProtocol):
    """One connection of uvicorn, with a deadline on everything that the client has to do."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._receiving = True
        self._received = 0
        self._head = 0
        self._at_line_start = True
        self._held = b""
        self._refusal: Problem | None = None
        self._stopping = False
        self._under_way: list[RequestResponseCycle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        _silent[self] = None
        if len(self.connections) > MAX_CONNECTIONS:
            next(iter(_silent)).transport.close()
        self._deadline = self.loop.call_later(WINDOW_SECONDS, self._check_progress)
        if isinstance(self.server_state, State) and self.server_state.stopping:
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        _silent.pop(self, None)
        self._give_up()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a deadline runs only while a request is incomplete, which is rare."""
        self._received += len(data)
        if self._held:
            data, self._held = self._held + data, b""
        if b"pgrade" in data or b"PGRADE" in data or _CUT_UPGRADE.search(data, max(0, len(data) - len(_NAME))):
            self._receive_lines(data)
        else:
            self._at_line_start = data.endswith(b"\n")
            super().data_received(data)
        if self._receiving and not self._in_body and self._received > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)  # a header without an end, which the parser keeps to itself
        if self._receiving != (self._deadline is not None):
            self._arm()

    def _receive_lines(self, data: bytes) -> None:
        """Take bytes, and hide a wish for another protocol, which a server may ignore (RFC 9110, 7.8).

        The parser would take what follows for that protocol, and a body or the next request would be lost: Java's
        HTTP client and `curl --http2` wish for HTTP/2 with every first request. Line by line, since only the parser
        knows whether a line is a header or a body's. The first bytes of a name wait here for the rest of it.
        """
        for line in data.splitlines(keepends=True):
            shown = line
            if self._at_line_start and not self._in_body:
                if _NAME.startswith(line.lower()) and line.lower() != _NAME:
                    self._held = line
                    return
                shown = _UPGRADE.sub(b"X-Upgrade:", line)
            self._at_line_start = line.endswith(b"\n")
            super().data_received(shown)

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        self._receiving, self._head = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the path, within the head's limit."""
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, within the head's limit."""
        self._measure(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that the head is there; at a stop this request is the connection's last."""
        self._check_head()
        try:
            super().on_headers_complete()
        except HttpParserError:  # a target that is no path: nobody answers this one yet
            self.scope.pop("method")  # type: ignore[misc]  # by which uvicorn knows a head that is whole
            raise
        _silent.pop(self, None)
        self._under_way = [*(each for each in self._under_way if not each.response_complete), self.cycle]
        if self._stopping and not self._idle:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        self._receiving, self._received = False, 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Give a client that does not read a while."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def shutdown(self) -> None:
        """Answer what is under way; close when idle, a moment later, since a request may just be arriving."""
        self._stopping = True
        if self._idle:
            # Twice, since timers come before reading: a process that got no CPU for so long reads in between.
            self.loop.call_later(LINGER_SECONDS, self.loop.call_later, 0.01, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of every other error."""
        self._refuse(self._refusal or Problem(HTTPStatus.BAD_REQUEST, msg))

    def _measure(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD_BYTES:
            self._end(_HEAD_TOO_LARGE)

    def _check_head(self) -> None:
        """Refuse what the parser takes and others on the way may have read differently (RFC 9112, 3.2 and 6.1)."""
        names = [name for name, _ in self.headers]
        if names.count(b"host") != 1 and (b"host" in names or self.parser.get_http_version() == "1.1"):
            self._end(_NOT_ONE_HOST)
        if b"transfer-encoding" in names:
            codings = [value for name, value in self.headers if name == b"transfer-encoding"]
            if len(codings) > 1 or codings[0].strip().lower() != b"chunked":
                self._end(_UNKNOWN_CODING)
        if self.parser.should_upgrade():
            self._end(_UNREAD_UPGRADE)

    def _end(self, problem: Problem) -> NoReturn:
        """End the parser, which calls `send_400_response`."""
        self._refusal = problem
        raise ValueError(problem.detail)

    @property
    def _idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request, unlike uvicorn's annotation
        return cycle is None or cycle.response_complete

    @property
    def _in_body(self) -> bool:
        scope: HTTPScope | None = self.scope
        return scope is not None and "method" in scope

    def _close_if_idle(self) -> None:
        if self._idle:
            self.transport.close()

    def _arm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._received = 0
        self._deadline = self.loop.call_later(WINDOW_SECONDS, self._check_progress) if self._receiving else None

    def _check_progress(self) -> None:
        if self._in_body and (self.flow.read_paused or self._received >= BODY_BYTES):
            self._arm()
        elif self._received or self._in_body:
            self._refuse(Problem(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time"))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer, unless an answer to this request has begun, and close."""
        if self.transport.is_closing():
            return
        if self._idle != self._in_body or not (self._idle or self.cycle.response_started):
            body = problem.body()
            head = [
                f"HTTP/1.1 {problem.status} {problem.title}",
                f"content-type: {MEDIA_TYPE}",
                f"content-length: {len(body)}",
                "connection: close",
                "",
                "",
            ]
            self.transport.write("\r\n".join(head).encode() + body)
        self._give_up()
        self.transport.close()

    def _give_up(self) -> None:
        """Let requests that came whole be answered to nobody, which is no failure; uvicorn thinks of the last alone."""
        for cycle in self._under_way:
            cycle.disconnected = True
            cycle.message_event.set()


_NAME: Final = b"upgrade:"
_UPGRADE: Final = re.compile(rb"^upgrade:", re.IGNORECASE)
_CUT_UPGRADE: Final = re.compile(rb"(?:\A|\n)u(?:p(?:g(?:r(?:a(?:d(?:e)?)?)?)?)?)?\Z", re.IGNORECASE)
"""Data whose last line may be the beginning of that name."""
_HEAD_TOO_LARGE: Final = Problem(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The path and the headers may have {MAX_HEAD_BYTES:,} bytes together"
)
_NOT_ONE_HOST: Final = Problem(HTTPStatus.BAD_REQUEST, "A request of HTTP/1.1 has one header Host")
_UNKNOWN_CODING: Final = Problem(HTTPStatus.BAD_REQUEST, "Transfer-Encoding can be chunked alone")
_UNREAD_UPGRADE: Final = Problem(
    HTTPStatus.BAD_REQUEST, "This server offers no other protocol; send the header Upgrade in one case, or not at all"
)
_silent: dict[Connection, None] = {}
"""Connections of this process without a request so far, oldest first."""
