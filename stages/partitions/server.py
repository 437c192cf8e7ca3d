"""Start the process that forks workers, and kill it and them if they hang."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

_POLL_SECONDS: Final = 2.0


def start_server(modules: Sequence[str] = ()) -> None:
    """Start it unless it runs; it imports `modules` once for all workers, and ends with this process.

    Ctrl-C doesn't reach it.
    """
    multiprocessing.set_forkserver_preload(list(modules))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def killing_frozen(find_workers: Callable[[], set[BaseProcess]]) -> Iterator[None]:
    """Kill workers, and the server that starts them, if somebody stops them (SIGSTOP), so that others do their work.

    They must be stopped twice in a row: a job in the shell may be resumed.
    """
    ended = threading.Event()

    def watch() -> None:
        before: set[int] = set()
        while not ended.wait(_POLL_SECONDS):
            pids = _find_server(), *(each.pid for each in find_workers())
            stopped = {pid for pid in pids if pid and _is_stopped(pid)}
            for pid in stopped & before:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            before = stopped

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _find_server() -> int | None:
    pid: int | None = vars(forkserver._forkserver)["_forkserver_pid"]  # noqa: SLF001  # nothing else knows it
    return pid


def _is_stopped(pid: int) -> bool:
    try:
        about = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:  # it has just ended, or the system isn't Linux
        return False
    return about.rpartition(")")[2].split()[0] == "T"
