"""Signs of life of a long fit: the time it has taken, and of forests the trees that stand."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import joblib
from joblib._parallel_backends import ThreadingBackend  # the base that joblib documents for own backends

from stages.entry import log

_SECONDS = 5.0
_BACKEND = "counting"


class Counter:
    """How many parts of the work are done; any thread may add."""

    def __init__(self) -> None:
        self.done = 0

    def add(self, *_: Any) -> bool:
        """Count one more; False, as an answer to a boosting model, goes on."""
        self.done += 1
        return False


@contextlib.contextmanager
def counted(counter: Counter) -> Iterator[None]:
    """Let `counter` count the tasks of joblib: of a forest, the trees."""

    class _Backend(ThreadingBackend):  # type: ignore[misc]
        def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Any:
            def done(result: Any) -> None:
                counter.add()
                if callback:
                    callback(result)

            return super().submit(func, done)

    joblib.register_parallel_backend(_BACKEND, _Backend)
    with joblib.parallel_config(_BACKEND):
        yield


@contextlib.contextmanager
def told(what: str, counter: Counter, total: int | None, seconds: float = _SECONDS) -> Iterator[None]:
    """Tell every few seconds how long `what` has taken, and how many of `total` trees stand."""
    over = threading.Event()
    start = time.perf_counter()

    def tell() -> None:
        while not over.wait(seconds):
            log(f"{what}: {_trees(counter.done, total)}{time.perf_counter() - start:.0f} s")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _trees(done: int, total: int | None) -> str:
    if not total or not done:
        return ""
    # Whoever looks at the finished forest makes it predict, and its trees are tasks again.
    return f"{done} of {total} trees, " if done < total else f"all {total} trees stand, "
