"""Run a function on pieces of data that this process reads, wherever the workers are."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from stages.entry import log
from stages.errors import UserError
from stages.partitions.executors import Spread, get_shared, open_pool

_LOSSES: Final = 3
"""How many times in a row workers may be lost before a piece is done."""

Shared = TypeVar("Shared")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Task(Generic[Piece]):
    piece: Piece
    future: Future[Any]


def map_pieces(
    function: Callable[[Shared, Piece], Result], shared: Shared, pieces: Iterable[Piece], spread: Spread
) -> Iterator[Result]:
    """Yield what the function returns for `shared` and each piece, in the pieces' order.

    Workers get `shared` once, and pieces as they come, so only a few of them are in memory. The function must be
    importable and pure: the pieces of a worker that is lost run again. Raises the first piece's error.
    """
    remaining, tasks, losses = iter(pieces), deque[_Task[Piece]](), 0
    while True:
        try:
            with open_pool(spread) as pool:
                argument = pool.share(shared)
                for task in tasks:
                    task.future = pool.executor.submit(_call, function, argument, task.piece)
                while True:
                    while len(tasks) < pool.at_once and (new := next(((each,) for each in remaining), None)):
                        tasks.append(_Task(new[0], pool.executor.submit(_call, function, argument, new[0])))
                    if not tasks:
                        return
                    result = pool.wait_for(tasks[0].future)
                    tasks.popleft()
                    losses = 0
                    yield result
        except BrokenExecutor:
            losses += 1
            if losses >= _LOSSES:
                raise UserError(
                    "worker processes end before their work is done, perhaps for lack of memory; set a lower WORKERS"
                ) from None
            log("a worker process has ended; its work is done again")


def _call(function: Callable[[Any, Any], Any], argument: Any, piece: Any) -> Any:
    return function(get_shared(argument), piece)
