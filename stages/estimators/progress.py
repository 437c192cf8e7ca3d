"""Signs of life of a long fit."""

import contextlib
import threading
import time
from collections.abc import Iterator

from stages.entry import log


@contextlib.contextmanager
def log_elapsed(what: str, seconds: float = 5.0) -> Iterator[None]:
    """Log every few seconds how long `what` has taken."""
    over = threading.Event()
    start = time.perf_counter()

    def report() -> None:
        while not over.wait(seconds):
            log(f"{what}: {time.perf_counter() - start:.0f} s")

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
