"""The process that answers requests: uvicorn's server, which loses no request when it stops."""

import asyncio
import contextlib
import faulthandler
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service import memory
from service.app import Api, create_app
from service.model import ArtifactError
from service.process import BACKLOG, StartError
from service.release import ReleaseError
from service.settings import Settings, SettingsError
from service.users.database import DatabaseUrlError
from service.users.rules import AccountError

_LINGER_SECONDS: Final = 1.0
"""During shutdown: how long an idle connection stays open, because a request may be on its way."""
_HANG_SECONDS: Final = 30.0
"""A worker whose event loop hangs for this long prints a traceback and ends; the supervisor replaces it."""
_FORWARDED: Final = {b"x-forwarded-for", b"x-forwarded-proto"}
_HEAD: Final = b"HTTP/1.1 "
_CONTINUE: Final = b"HTTP/1.1 100 "


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol; it writes a response's head and the first piece of its body in one system call, not two."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        """Start using a new connection."""
        self._joining = _Joining(transport)
        super().connection_made(self._joining)  # type: ignore[arg-type]  # it has every method that uvicorn calls

    def on_response_complete(self) -> None:
        """Write the head if no body followed it."""
        self._joining.flush()
        super().on_response_complete()


class _Joining:
    """A transport that delays a response's head until the next write or the end of the response."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Delay a head; write anything else, after the delayed head."""
        if not self._head and data.startswith(_HEAD) and not data.startswith(_CONTINUE):
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def flush(self) -> None:
        """Write the delayed head, if any."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Write the delayed head, if any, and close the connection."""
        self.flush()
        self._transport.close()


class ForwardedHeaders(ProxyHeadersMiddleware):
    """uvicorn's middleware for a proxy's X-Forwarded headers, skipped for requests without them."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """Call the application, with the client's address from a trusted proxy if it sent one."""
        for name, _ in scope["headers"]:
            if name in _FORWARDED:
                return super().__call__(scope, receive, send)
        return self.app(scope, receive, send)


class Server(uvicorn.Server):
    """uvicorn's server; it loads the current release and creates the application.

    Parameters
    ----------
    ready
        Called when the server accepts connections.
    """

    _app: Api

    def __init__(self, settings: Settings, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                "",  # `run` creates the application
                interface="asgi3",
                http=OneWriteProtocol,
                ws="none",
                lifespan="off",  # `startup` begins it, because uvicorn would hide its errors
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # ForwardedHeaders reads them
                workers=settings.workers,
                timeout_graceful_shutdown=settings.shutdown_seconds,
            )
        )
        self._settings = settings
        self._ready = ready
        self._lifespan = contextlib.AsyncExitStack()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer requests until SIGTERM, SIGINT or SIGHUP.

        Raises StartError if a setting, account or release is wrong, or the system refuses a file or socket. Other
        errors pass through.
        """
        signal.signal(signal.SIGHUP, self.handle_exit)
        memory.return_large_blocks()
        try:
            self._app = create_app(self._settings)
            self.config.app = ForwardedHeaders(cast("Any", self._app), self._settings.forwarded_allow_ips)
            super().run(sockets)
        except (AccountError, ArtifactError, DatabaseUrlError, ReleaseError, SettingsError) as error:
            # A user can correct these.
            raise StartError(str(error)) from error
        except OSError as error:
            if self.started:
                raise
            raise StartError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin the application's lifespan, then listen."""
        await self._lifespan.enter_async_context(self._app.router.lifespan_context(self._app))
        await super().startup(sockets)
        memory.return_startup_memory()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept waiting connections, answer requests that still arrive, and close each connection after its response.

        uvicorn's own shutdown closes idle connections at once, and a request that is just arriving would be lost.
        """
        faulthandler.cancel_dump_traceback_later()
        for listener in sockets or []:
            await self._accept_waiting(listener)
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        for _ in range(round(_LINGER_SECONDS / 0.05)):
            await asyncio.sleep(0.05)  # then those are known, too, that were just accepted
            if self.force_exit or not self.server_state.connections:
                break
        await super().shutdown(sockets)
        await self._lifespan.aclose()

    async def _accept_waiting(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        protocol = partial(OneWriteProtocol, self.config, self.server_state, self.lifespan.state)
        with contextlib.suppress(OSError):  # no connection waits, or the limit of open files is reached
            for _ in range(BACKLOG):
                accepted, _ = listener.accept()
                accepted.setblocking(False)  # noqa: FBT003  # the socket module's own signature
                await loop.connect_accepted_socket(protocol, accepted)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop. uvicorn calls this ten times a second."""
        if self.config.workers > 1 and counter % 10 == 0:  # restart the timer that ends a hanging worker
            faulthandler.dump_traceback_later(_HANG_SECONDS, exit=True)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at a second signal, stop without waiting for unanswered requests, unless there is a supervisor.

        A worker with a supervisor can get two signals for one stop: from the terminal or service manager, and from
        the supervisor.
        """
        del sig, frame
        self.force_exit = self.should_exit and self.config.workers == 1
        self.should_exit = True
