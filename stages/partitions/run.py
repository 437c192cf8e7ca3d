"""Run a function on partitions, in any order, and give the results in the order of the partitions."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from typing import Any, Final, TypeVar

from stages.entry import log
from stages.errors import UserError
from stages.partitions.executors import Pool, Spread, open_pool

_LOSSES: Final = 3
"""How many times in a row workers may be lost before a partition is done."""
_POLL_SECONDS: Final = 2.0

Partition = TypeVar("Partition")
Result = TypeVar("Result")


def run_partitions(
    function: Callable[[Partition], Result],
    partitions: Sequence[Partition],
    spread: Spread,
    done: Callable[[int, Result], None],
) -> list[Result]:
    """Return the result of each partition; `done` is called with each one's index and result when it is there.

    The function must be importable and pure: a partition whose worker is lost runs again. Raises the error of the
    first partition that has one, whatever came first.
    """
    results: dict[int, Result] = {}
    losses = 0
    while len(results) < len(partitions):
        before = len(results)
        try:
            with open_pool(spread) as pool:
                _Batch(pool, function, partitions, results, done).run()
        except BrokenExecutor:
            losses = losses + 1 if len(results) == before else 1
            if losses >= _LOSSES:
                raise UserError(
                    "worker processes end before their work is done, perhaps for lack of memory; use fewer --workers"
                ) from None
            log("a worker process has ended; its work is done again")
    return [results[index] for index in range(len(partitions))]


class _Batch:
    """The partitions that aren't done yet, on one pool."""

    def __init__(
        self,
        pool: Pool,
        function: Callable[[Any], Any],
        partitions: Sequence[Any],
        results: dict[int, Any],
        done: Callable[[int, Any], None],
    ) -> None:
        self._pool = pool
        self._function = function
        self._partitions = partitions
        self._results = results
        self._done = done
        self._waiting = [index for index in range(len(partitions)) if index not in results]
        self._running: dict[Future[Any], int] = {}
        self._errors: dict[int, BaseException] = {}

    def run(self) -> None:
        """Run them all. Raises the error of the first one that has one."""
        while self._running or self._waiting:
            while self._waiting and not self._errors and len(self._running) < self._pool.at_once:
                index = self._waiting.pop(0)
                self._running[self._pool.executor.submit(self._function, self._partitions[index])] = index
            first = min(self._errors, default=len(self._partitions))
            if self._errors and first < min(self._running.values(), default=first + 1):
                break
            finished, _ = wait(self._running, _POLL_SECONDS, FIRST_COMPLETED)
            for future in finished:
                self._take(future)
            if not finished:
                self._pool.check()
        if self._errors:
            raise self._errors[min(self._errors)]

    def _take(self, future: Future[Any]) -> None:
        index = self._running.pop(future)
        try:
            result = future.result()
        except (BrokenExecutor, CancelledError):
            raise
        except Exception as error:  # noqa: BLE001  # raised when those before are done
            self._errors[index] = error
        else:
            self._results[index] = result
            self._done(index, result)
