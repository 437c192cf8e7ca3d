"""One process that answers requests: uvicorn's server, with a stop that loses no request."""

import asyncio
import contextlib
import faulthandler
import gc
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.http.one_write import OneWriteProtocol
from service.model import ArtifactError
from service.process import BACKLOG, StartError
from service.scoring import artifact, memory
from service.settings import Settings, SettingsError, file_error

_LINGER_SECONDS: Final = 0.25
"""At a stop: how long connections may still bring the request that was already on its way."""
_HANG_SECONDS: Final = 30.0
"""A worker whose event loop stands still for so long prints where, and ends; the supervisor replaces it."""
_FORWARDED: Final = {b"x-forwarded-for", b"x-forwarded-proto"}


class Forwarded(ProxyHeadersMiddleware):
    """uvicorn's middleware for what a proxy tells about the caller; where none does, it costs next to nothing."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """Pass a request on."""
        if _FORWARDED.isdisjoint(dict(scope["headers"])):
            return self.app(scope, receive, send)
        return super().__call__(scope, receive, send)


class Server(uvicorn.Server):
    """uvicorn's server of the application."""

    _app: FastAPI

    def __init__(self, settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                "",  # made in `run`
                interface="asgi3",
                http=OneWriteProtocol,
                ws="none",
                lifespan="off",  # begins in `startup`, so that its errors come as they are
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # Forwarded reads them
                workers=settings.workers,
                timeout_graceful_shutdown=settings.shutdown_seconds,
            )
        )
        self._settings = settings
        self._ready = ready
        self._lifespan = contextlib.AsyncExitStack()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer requests until SIGTERM, SIGINT or SIGHUP.

        Raises StartError, in one line, for what a user can mend; anything else as it came.
        """
        memory.keep_nothing_large()
        gc.disable()  # until the start is over: nearly all that imports make stays
        signal.signal(signal.SIGHUP, self.handle_exit)
        # ONNX Runtime needs no Python to build a session: the rest of the service is imported meanwhile.
        with ThreadPoolExecutor(1) as thread:
            loading = thread.submit(artifact.load, self._settings)
            from service.app import create_app  # noqa: PLC0415
            from service.users.database import DatabaseUrlError  # noqa: PLC0415
            from service.users.rules import AccountError  # noqa: PLC0415

        try:
            self._app = create_app(self._settings, loading.result())
            self.config.app = Forwarded(cast("Any", self._app), self._settings.forwarded_allow_ips)
            super().run(sockets)
        except (AccountError, ArtifactError, DatabaseUrlError, SettingsError) as error:  # what a user can mend
            raise StartError(str(error)) from error
        except OSError as error:
            if self.started:
                raise
            raise StartError(file_error(error)) from error

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin the application's lifespan, then listen."""
        await self._lifespan.enter_async_context(self._app.router.lifespan_context(self._app))
        await super().startup(sockets)
        memory.forget_start()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what already waits, answer what arrives within a moment and close each connection with its answer.

        uvicorn alone would close idle connections at once, and a request that was just arriving would be lost.
        """
        faulthandler.cancel_dump_traceback_later()
        for listener in sockets or []:
            await self._accept_rest(listener)
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(_LINGER_SECONDS)
        await super().shutdown(sockets)
        await self._lifespan.aclose()

    async def _accept_rest(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # none waits any more, or no file is left to open
            for _ in range(BACKLOG):
                accepted, _ = listener.accept()
                accepted.setblocking(False)  # noqa: FBT003  # the socket module's own signature
                await loop.connect_accepted_socket(self._make_connection, accepted)

    def _make_connection(self) -> OneWriteProtocol:
        return OneWriteProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; uvicorn calls this ten times a second."""
        if self.config.workers > 1 and counter % 10 == 0:
            faulthandler.dump_traceback_later(_HANG_SECONDS, exit=True)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at a second signal without waiting for answers under way, unless there is a supervisor.

        A terminal and a service manager signal the supervisor as well, which signals its workers: that is one stop.
        """
        del sig, frame
        self.force_exit = self.should_exit and self.config.workers == 1
        self.should_exit = True
