"""Run slow functions outside the event loop: in a few threads, with a limited queue."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

NICENESS: Final = 10
"""The threads' niceness on Linux (-20 to 19), so that threads that answer requests get the core first."""
_CLOSE_SECONDS: Final = 1.0

T = TypeVar("T")


class BusyError(Exception):
    """Too many jobs are waiting. It doesn't mean that the database is down."""


class Threads:
    """Runs at most `count` jobs at a time, each in its own thread; at most `waiting` more wait.

    The threads are daemons, unlike those of `concurrent.futures`, so the process can end even if the database never
    answers.
    """

    def __init__(self, count: int, waiting: int) -> None:
        self._count = count
        self._turns = asyncio.Semaphore(count)
        self._places = waiting

    async def run(self, function: Callable[[], T], seconds: float) -> T:
        """Return what the function returns; its errors pass through.

        Raises BusyError if the queue is full or the function doesn't begin within `seconds`. Raises TimeoutError if
        the function then takes longer than `seconds`; its thread continues.
        """
        if self._turns.locked() and not self._places:
            raise BusyError
        self._places -= 1
        try:
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise BusyError from None
        finally:
            self._places += 1
        loop, future = asyncio.get_running_loop(), Future[T]()

        def release(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed
                loop.call_soon_threadsafe(self._turns.release)

        future.set_running_or_notify_cancel()  # from here on nobody can cancel it
        future.add_done_callback(release)
        threading.Thread(target=_work, args=(function, future), daemon=True).start()
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Wait at most a second for the running jobs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                for _ in range(self._count):
                    await self._turns.acquire()


def _work(function: Callable[[], T], future: Future[T]) -> None:
    if sys.platform == "linux":  # only there, each thread has its own niceness
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001  # it is raised again where the job is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
