"""Run the service: one process that answers requests, or uvicorn's supervisor and its workers.

Each worker listens on its own socket (SO_REUSEPORT), and the kernel distributes connections: of 16 connections opened
at once, each of two workers got 7 to 9; on a shared socket, the first worker to wake got all 16. A worker's socket
closes when the worker ends, so no connection waits for a dead worker.
"""

import contextlib
import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from service import release
from service.http import logs
from service.process import BACKLOG, StartError
from service.settings import Settings

if TYPE_CHECKING:
    from service.process.server import Server

PAUSE_SECONDS: Final = 2.0
"""How long a worker that can't start waits before it ends, so that its replacement doesn't start at once."""
_BLOCKED_AT_START: Final = (signal.SIGINT, signal.SIGHUP)
_log = logging.getLogger(__name__)


def run(settings: Settings, ready: Callable[[Settings], None] = lambda _: None) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then answer the requests that were accepted.

    Calls `ready` when the first worker answers, with settings that have the actual port if PORT is 0.
    Raises StartError if the address is in use, there is no release, or no worker can start.
    """
    logs.configure(settings)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection is an open file
    with contextlib.ExitStack() as stack:
        stack.enter_context(release.marked_as_served(settings.releases))
        listener = listen(settings.host, settings.port)
        address = listener.getsockname()
        running = settings.model_copy(update={"metrics_dir": None, "port": address[1]})
        if settings.workers == 1:
            _make_server(running, lambda: ready(running)).run([listener])
            return
        folder = settings.metrics_dir or stack.enter_context(tempfile.TemporaryDirectory(prefix="service-metrics-"))
        running = running.model_copy(update={"metrics_dir": Path(folder)})
        listener.close()  # now it is known that no other program has the address, and the workers can share it
        with bind(listener.family, address) as reserved:
            Supervisor(running, reserved, lambda: ready(running)).run()


def _make_server(settings: Settings, ready: Callable[[], None]) -> "Server":
    gc.disable()  # until startup is over: nearly all objects that imports create stay
    # Only a process that answers requests imports the server, so the supervisor needs little memory.
    from service.process.server import Server  # noqa: PLC0415

    return Server(settings, ready)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket that shares its address with no other. Raises StartError if it can't listen."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:  # UnicodeError: the host isn't a valid name
        reason = str(getattr(error, "strerror", error)).partition(" (while")[0]
        raise StartError(f"cannot listen on {host[:80]}:{port}: {reason}; set HOST or PORT") from error


def bind(family: int, address: Any) -> socket.socket:
    """Return a socket that can share its address with others of this user. It gets no connections until it listens."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(address)
    return bound


class Worker(Process):
    """uvicorn's worker process, with the service's server.

    Through uvicorn's pipe for health checks it sends "" when it answers, or the reason why it can't start.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket, settings: Settings) -> None:
        self._settings = settings
        super().__init__(config, [listener])

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer requests in the new process until the supervisor stops it or ends."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED_AT_START)
        logs.configure(self._settings)
        threading.Thread(target=_stop_with_supervisor, daemon=True).start()
        try:
            _make_server(self._settings, lambda: self.child_conn.send("")).run(sockets)
        except StartError as error:
            self.child_conn.send(str(error))
            time.sleep(PAUSE_SECONDS)
            raise SystemExit(1) from None


def _stop_with_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)


class Supervisor(Multiprocess):
    """uvicorn's supervisor; it loads no model and answers no requests.

    Unlike uvicorn's own supervisor, it continues if a replacement can't start, kills the workers at a second signal,
    and stops at SIGHUP, which a terminal sends when it is closed.
    """

    processes: list[Worker]  # type: ignore[assignment]  # uvicorn's list takes any process

    def __init__(self, settings: Settings, reserved: socket.socket, ready: Callable[[], None]) -> None:
        super().__init__(uvicorn.Config("", workers=settings.workers, log_config=None, log_level="warning"), [])
        self._settings = settings
        self._reserved = reserved
        self._on_ready = ready
        self._is_ready = False
        self._failure = ""

    def run(self) -> None:
        """Supervise workers until a signal. Raises StartError if one fails before any has answered."""
        super().run()
        if self._failure:
            raise StartError(self._failure)

    def init_processes(self) -> None:
        """Start all workers."""
        self.processes = [self._start() for _ in range(self.processes_num)]

    def _start(self) -> Worker:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED_AT_START)  # a new worker can't handle them yet
        with bind(self._reserved.family, self._reserved.getsockname()) as listener:
            worker = Worker(self.config, listener, self._settings)
            worker.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return worker

    def keep_subprocess_alive(self) -> None:
        """Replace workers that ended; stop if none has answered yet."""
        for place, worker in enumerate(self.processes):
            while worker.parent_conn.poll():
                self._handle_report(worker.parent_conn.recv())
            if worker.process.is_alive():  # a worker whose event loop hangs ends itself
                continue
            if not self._is_ready:
                self._handle_report(f"a worker ended with status {worker.exitcode}")
                return
            _log.warning("worker %s ended with status %s, another starts", worker.pid, worker.exitcode)
            self.processes[place] = self._start()

    def _handle_report(self, failure: str) -> None:
        if not failure and not self._is_ready:
            self._is_ready = True
            self._on_ready()
        elif failure and self._is_ready:
            _log.error("a worker can't start: %s", failure)
        elif failure:
            self._failure = self._failure or failure
            self.should_exit.set()

    def join_all(self) -> None:
        """Wait until all workers have ended; kill them at another signal."""
        self.signal_queue.clear()
        while alive := [worker.process for worker in self.processes if worker.process.is_alive()]:
            if self.signal_queue:
                for process in alive:
                    process.kill()
            alive[0].join(0.1)

    handle_hup = Multiprocess.handle_term

    def handle_ttin(self) -> None:
        """Ignore the signals by which uvicorn adds or removes a worker: the new one wouldn't have this server."""

    handle_ttou = handle_ttin
