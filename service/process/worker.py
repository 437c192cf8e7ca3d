"""One process that answers requests: uvicorn, told by a signal or by its supervisor when to stop."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.http import logs
from service.model import ArtifactError
from service.process import channel
from service.scoring import artifact, memory
from service.settings import Settings, SettingsError, file_error

_TICKS_PER_BEAT = 10
_LINGER_SECONDS = 0.25
"""At a stop: how long connections may still bring the request that was already on its way."""

# What the application's start raises is told where it is known whether a user can mend it.
_quiet = logging.getLogger("service.lifespan")
_quiet.setLevel(logging.CRITICAL)


class _Server(uvicorn.Server):
    """uvicorn's server, which also listens to a supervisor."""

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], None], supervisor: socket.socket | None = None
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._supervisor = supervisor

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.logger = _quiet
        await super().startup(sockets)
        memory.forget_start()
        if self._supervisor is not None:
            asyncio.get_running_loop().add_reader(self._supervisor, self._hear, self._supervisor)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what already waits, answer what arrives within a moment and close each connection with its answer.

        uvicorn alone would close idle connections at once, and a request that was just arriving would be lost.
        """
        for listener in sockets or []:
            await self._accept_rest(listener)
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(_LINGER_SECONDS)
        await super().shutdown(sockets)

    async def _accept_rest(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # none waits any more, or no file is left to open
            for _ in range(channel.BACKLOG):
                accepted, _ = listener.accept()
                accepted.setblocking(False)  # noqa: FBT003  # the socket module's own signature
                await loop.connect_accepted_socket(self._make_connection, accepted)

    def _make_connection(self) -> HttpToolsProtocol:
        return HttpToolsProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def on_tick(self, counter: int) -> bool:
        if self._supervisor is not None and counter % _TICKS_PER_BEAT == 0:
            channel.tell(self._supervisor, channel.BEAT)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at a second signal without waiting for answers under way."""
        del sig, frame
        # A supervised worker hears of hurry from its supervisor alone: a terminal and a service
        # manager signal the whole group of processes, which is one stop and not two.
        self.force_exit |= self.should_exit and self._supervisor is None
        self.should_exit = True

    def _hear(self, supervisor: socket.socket) -> None:
        heard = channel.hear(supervisor)
        if heard is None:
            return
        if not heard:
            asyncio.get_running_loop().remove_reader(supervisor)
        self.force_exit |= channel.HURRY in heard
        self.should_exit = True


class _Lifespan:
    """Keeps what the application's start raises, which uvicorn would only print."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def tell(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                message = {"type": message["type"], "message": ""}
            await send(message)

        try:
            await self.app(scope, receive, tell)
        except Exception as error:
            self.error = error
            raise


def serve(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Answer requests in this process until SIGTERM, SIGINT or SIGHUP.

    Raises StartError, in one line, for what a user can mend; anything else as it came.
    """
    _serve(settings, listener, ready, None)


def serve_supervised(settings: Settings, listener: socket.socket, supervisor: socket.socket) -> None:
    """Answer requests until the supervisor says stop or dies, or until SIGTERM."""
    logs.configure(settings)
    try:
        _serve(settings, listener, lambda: channel.tell(supervisor, channel.READY), supervisor)
    except channel.StartError as error:
        channel.tell(supervisor, channel.FAILED + str(error).encode())
        sys.exit(1)


def _serve(
    settings: Settings, listener: socket.socket, ready: Callable[[], None], supervisor: socket.socket | None
) -> None:
    memory.keep_nothing_large()
    gc.disable()  # until the start is over: nearly all that imports make stays
    # ONNX Runtime needs no Python to build a session: the rest of the service is imported meanwhile.
    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(artifact.load, settings)
        from service import app as application  # noqa: PLC0415
        from service.users.database_url import DatabaseUrlError  # noqa: PLC0415
        from service.users.rules import AccountError  # noqa: PLC0415

    mistakes = (AccountError, ArtifactError, DatabaseUrlError, SettingsError)  # what a user can mend
    try:
        app = application.create_app(settings, loading.result())
    except mistakes as error:
        raise channel.StartError(str(error)) from error
    except OSError as error:  # of the counters' files, or others that the start opens
        raise channel.StartError(file_error(error)) from error
    lifespan = _Lifespan(app)
    server = _Server(_config(settings, lifespan), ready, supervisor)
    if supervisor is None:
        signal.signal(signal.SIGHUP, server.handle_exit)
    try:
        server.run([listener])
    except SystemExit:
        if isinstance(lifespan.error, mistakes):
            raise channel.StartError(str(lifespan.error)) from lifespan.error
        raise lifespan.error or AssertionError("uvicorn ended without a reason") from None


def _config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        workers=settings.workers,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
