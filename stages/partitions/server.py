"""Start the process that forks workers."""

import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing import forkserver


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
