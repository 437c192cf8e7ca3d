"""Threads for work that waits or burns: few, with a short queue before them, and off the event loop."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

NICENESS = 10
"""Of Linux's -20 to 19: such a thread yields the core to one that answers requests."""

T = TypeVar("T")


class BusyError(Exception):
    """Too many jobs wait, whatever they need: that is no outage."""


class Threads:
    """A fixed number of threads, and at most `waiting` jobs for which none is free."""

    def __init__(self, name: str, count: int, waiting: int) -> None:
        self._places = threading.BoundedSemaphore(count + waiting)
        self._pool = ThreadPoolExecutor(count, name, initializer=_be_nice)

    async def run(self, function: Callable[[], T], seconds: float) -> T:
        """Return what the function returns, or raise what it raises.

        Raises BusyError at once if the queue is full, and if the job doesn't begin within `seconds`;
        TimeoutError if it then takes longer than that: it keeps its thread until it ends by itself.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def work() -> T:
            loop.call_soon_threadsafe(begun.set)
            return function()

        future = self._pool.submit(work)
        future.add_done_callback(lambda _: self._places.release())  # before whoever waits for the result goes on
        try:
            async with asyncio.timeout(seconds):
                await begun.wait()
        except TimeoutError:
            if future.cancel():
                raise BusyError from None
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop the jobs that wait, and end once the threads are free: the database's own timeouts bound that."""
        self._pool.shutdown(cancel_futures=True)


def _be_nice() -> None:
    if sys.platform == "linux":  # where a thread has a niceness of its own
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
