"""The supervisor: keeps the wanted number of workers alive on one address.

Each worker listens on a socket of its own (SO_REUSEPORT), and the kernel spreads
connections over them: of 16 opened at once each of two workers got 7 to 9, while on one
common socket the first to wake took all 16. Such a socket lives and dies with its worker,
so that no connection waits for a dead one. The supervisor loads no model and answers nothing.

uvicorn's own supervisor looks for dead workers twice a second, restarts them without a
pause and stops for as long as they take; this one waits on its children and on signals.
"""

import contextlib
import logging
import multiprocessing
import resource
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final

from service import release
from service.http import logs
from service.process import channel
from service.process.channel import StartError
from service.settings import Settings

SILENT_SECONDS: Final = 30.0
"""A worker whose event loop says nothing for so long hangs, and is replaced."""
BACKOFF_SECONDS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Pause before a restart, by the number of deaths since a worker last lived `STEADY_SECONDS`."""
STEADY_SECONDS: Final = 10.0
LEAST_FILES: Final = 256
"""Files that a process must be allowed to open: some 64 for the service itself, the rest for connections."""
SLACK_SECONDS: Final = 5.0
"""What a stopping worker gets beyond its own limit before it is killed."""

_FOR_SUPERVISOR: Final = (signal.SIGINT, signal.SIGHUP)
_log = logging.getLogger(__name__)
_spawn = multiprocessing.get_context("spawn")


def run(settings: Settings, ready: Callable[[Settings], None] = lambda _: None) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; every request accepted before is answered.

    Parameters
    ----------
    ready
        Called once, when the first worker answers, with the settings and the port that was free if it was 0.

    Raises
    ------
    StartError
        If the address is taken, there is nothing to serve, or no worker can start.
    """
    logs.configure(settings)
    _raise_file_limit()
    with _metrics_dir(settings) as folder, release.marked_as_served(settings.releases):
        listener = listen(settings.host, settings.port)
        told = settings.model_copy(update={"metrics_dir": folder, "port": listener.getsockname()[1]})
        if settings.workers == 1:
            _serve_alone(told, listener, lambda: ready(told))
            return
        # Opened alone, this one proved that nobody else is there; from now on the address is shared on purpose.
        address = listener.getsockname()
        listener.close()
        with bind(listener.family, address) as reserved:
            Supervisor(told, reserved, lambda: ready(told)).run()


def _serve_alone(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> None:
    # What answers requests is imported where requests are answered: the supervisor stays small.
    from service.process.worker import serve  # noqa: PLC0415

    serve(settings, listener, ready)


def _serve_supervised(settings: Settings, listener: socket.socket, supervisor: socket.socket) -> None:
    # The supervisor decides about these; they were held back until now, lest they end a worker that just begins.
    for number in _FOR_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_SUPERVISOR)
    from service.process.worker import serve_supervised  # noqa: PLC0415

    serve_supervised(settings, listener, supervisor)


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket that shares its address with none. Raises StartError if that is not possible."""
    listener = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(channel.BACKLOG)
    except (OSError, UnicodeError) as error:  # the latter of a host that is no name at all
        if listener is not None:
            listener.close()
        reason = getattr(error, "strerror", error)
        raise StartError(f"cannot listen on {host[:80]}:{port}: {reason}; set HOST or PORT") from error
    return listener


def bind(family: int, address: Any) -> socket.socket:
    """Hold an address that others of ours may hold as well; without listening, no connection comes here."""
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(address)
    return held


@contextlib.contextmanager
def _metrics_dir(settings: Settings) -> Iterator[Path | None]:
    if settings.workers == 1 or settings.metrics_dir is not None:
        yield settings.metrics_dir if settings.workers > 1 else None
        return
    with tempfile.TemporaryDirectory(prefix="service-metrics-") as folder:
        yield Path(folder)


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets us: the soft limit is 1024 nearly everywhere.

    Raises StartError where so few files are allowed that nobody could be answered.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < LEAST_FILES:
        raise StartError(f"this process may open {hard} files, the service needs {LEAST_FILES}; raise `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    channel: socket.socket
    started: float
    heard: float
    ready: bool = False
    failure: str = ""
    """Why it could not start."""


class Supervisor:
    """Starts workers, restarts dead ones, stops all of them."""

    def __init__(self, settings: Settings, reserved: socket.socket, ready: Callable[[], None]) -> None:
        self._settings = settings
        self._reserved = reserved
        self._on_ready = ready
        self._workers: list[_Worker] = []
        self._once_ready = False
        self._signals = 0
        self._deaths = 0
        self._not_before = 0.0

    def run(self) -> None:
        """Supervise until a signal. Raises StartError if no worker comes up."""
        try:
            with self._wakeups() as wakeup:
                while not self._signals:
                    self._fill()
                    self._wait(wakeup)
                    self._replace_silent()
                    self._bury()
                self._stop(wakeup)
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()

    def _fill(self) -> None:
        """Start missing workers; the others once the first is up, so that what keeps it from starting is said once."""
        wanted = self._settings.workers if self._once_ready else 1
        while len(self._workers) < wanted and time.monotonic() >= self._not_before:
            self._workers.append(self._start())

    def _start(self) -> _Worker:
        ours, theirs = channel.pair()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_SUPERVISOR)
        with theirs, bind(self._reserved.family, self._reserved.getsockname()) as listener:
            process = _spawn.Process(target=_serve_supervised, args=(self._settings, listener, theirs))
            process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        now = time.monotonic()
        return _Worker(process, ours, now, now)

    def _wait(self, wakeup: socket.socket) -> None:
        """Wait for a word or the death of a worker, for a signal, or until something is due."""
        wanted: list[Any] = [part for worker in self._workers for part in (worker.process.sentinel, worker.channel)]
        restarting = self._once_ready and len(self._workers) < self._settings.workers
        pause = max(0.0, self._not_before - time.monotonic()) if restarting else 1.0
        connection.wait([*wanted, wakeup], pause)
        channel.hear(wakeup)
        for worker in self._workers:
            self._hear(worker)

    def _hear(self, worker: _Worker) -> None:
        words, failed, reason = (channel.hear(worker.channel) or b"").partition(channel.FAILED)
        if failed:
            worker.failure = reason.decode()
        if words:
            worker.heard = time.monotonic()
        if channel.READY in words:
            worker.ready = True
            if not self._once_ready:
                self._once_ready = True
                self._on_ready()

    def _replace_silent(self) -> None:
        for worker in self._workers:
            if worker.ready and time.monotonic() - worker.heard > SILENT_SECONDS:
                _log.error("worker %s has hung for %.0f s and is killed", worker.process.pid, SILENT_SECONDS)
                worker.process.kill()
                worker.process.join()

    def _bury(self) -> None:
        for worker in [each for each in self._workers if not each.process.is_alive()]:
            self._hear(worker)
            self._workers.remove(worker)
            worker.channel.close()
            reason = worker.failure or f"a worker ended with status {worker.process.exitcode}"
            if not worker.ready and not self._workers:
                raise StartError(reason)
            steady = time.monotonic() - worker.started >= STEADY_SECONDS
            self._deaths = 1 if steady else self._deaths + 1
            pause = BACKOFF_SECONDS[min(self._deaths, len(BACKOFF_SECONDS)) - 1]
            self._not_before = time.monotonic() + pause
            _log.warning("worker %s ended, another starts in %.0f s: %s", worker.process.pid, pause, reason)

    def _stop(self, wakeup: socket.socket) -> None:
        """Let each worker answer what it accepted; a second signal makes them end now."""
        for worker in self._workers:
            channel.tell(worker.channel, channel.STOP)
            if not worker.ready:
                worker.process.terminate()
        deadline = time.monotonic() + self._settings.shutdown_seconds + SLACK_SECONDS
        while alive := [worker for worker in self._workers if worker.process.is_alive()]:
            connection.wait([*(worker.process.sentinel for worker in alive), wakeup], 1.0)
            channel.hear(wakeup)
            for worker in alive if self._signals > 1 else ():
                channel.tell(worker.channel, channel.HURRY)
            if time.monotonic() > deadline:
                return

    @contextlib.contextmanager
    def _wakeups(self) -> Iterator[socket.socket]:
        """Make a signal count, and wake whoever waits for the socket."""
        wakeup, written = channel.pair()
        signal.set_wakeup_fd(written.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._count_signal)
        try:
            yield wakeup
        finally:
            signal.set_wakeup_fd(-1)
            wakeup.close()
            written.close()

    def _count_signal(self, number: int, frame: object) -> None:
        del number, frame
        self._signals += 1
