"""Threads for work that waits or burns: few, with a short queue before them, and off the event loop."""

import asyncio
import contextlib
import functools
import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

NICENESS = 10
"""Of Linux's -20 to 19: such a thread yields the core to one that answers requests."""

T = TypeVar("T")
_Job = Callable[[], None]


class BusyError(Exception):
    """As many jobs wait as may."""


class Threads:
    """A fixed number of threads, and at most `waiting` jobs for which none is free.

    They are daemons, unlike those of `concurrent.futures`: a database that never answers doesn't keep
    the process from ending.
    """

    def __init__(self, name: str, count: int, waiting: int) -> None:
        self._places = threading.BoundedSemaphore(count + waiting)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(count)]
        self._started = False

    async def run(self, function: Callable[[], T], seconds: float) -> T:
        """Give what the function gives, or raise what it raises.

        Raises BusyError at once if the queue is full, TimeoutError after `seconds`; a job that has
        begun keeps its thread until it ends by itself.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        future: Future[T] = Future()
        self._jobs.put(functools.partial(self._do, function, future))
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(future)

    def close(self, seconds: float = 1.0) -> None:
        """Let each thread end once it is free, and wait so many seconds for each."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(seconds)

    def _do(self, function: Callable[[], T], future: "Future[T]") -> None:
        if not future.set_running_or_notify_cancel():
            self._places.release()
            return
        # The place is free before the result is told, so that whoever waited for it finds one.
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001  # it is raised again where the job is awaited
            self._places.release()
            future.set_exception(error)
        else:
            self._places.release()
            future.set_result(result)

    def _work(self) -> None:
        if sys.platform == "linux":  # where a thread has a niceness of its own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (job := self._jobs.get()) is not None:
            job()
