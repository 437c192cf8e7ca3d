"""Requests that come at the same moment, scored in one run of the model.

Much of what a row costs is the same for one row as for many: a call into ONNX Runtime, a
matrix made, a comparison with the bounds, decimals found. And a forest of some megabytes
fits into no core's cache; what one row fetched, the next finds there. So a small request
waits until the event loop has read what else has come meanwhile, some microseconds, and
all are scored together. So are larger ones, up to as many rows as keep nobody waiting.
"""

import asyncio
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from service.http.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.inputs.rows import Encoded, Values
    from service.scoring.serving import Scored, Served

FEW_BYTES: Final = 4096
"""In requests of no more bytes, oddities are looked for in the rows of all at once."""
_MANY_ROWS: Final = 512
"""With so many rows a run is full, 5 ms of a forest; whatever else waits is scored in the next one."""


class Together:
    """Scores requests of one event loop together."""

    def __init__(self, served: "Served") -> None:
        # Whoever waits here holds it; held from here as well, a model replaced would stay in memory.
        self._served = weakref.proxy(served)
        self._waiting: list[tuple[Values, bytes, asyncio.Future[Scored]]] = []
        self._larger: deque[tuple[Encoded, asyncio.Future[Scored]]] = deque()

    async def score(self, values: "Values", body: bytes) -> "Scored":
        """Score and count rows with whatever else has come.

        Raises Problem where a closer look at the `body` that the values come from finds an error.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._score)
        future: asyncio.Future[Scored] = loop.create_future()
        self._waiting.append((values, body, future))
        return await future

    async def score_larger(self, encoded: "Encoded") -> "Scored":
        """Score and count the rows of a larger request, read already, with whatever else has come."""
        loop = asyncio.get_running_loop()
        if not self._larger:
            loop.call_soon(self._score_larger)
        future: asyncio.Future[Scored] = loop.create_future()
        self._larger.append((encoded, future))
        return await future

    def _score_larger(self) -> None:
        run: list[tuple[Encoded, asyncio.Future[Scored]]] = []
        while self._larger and sum(len(encoded.numbers) for encoded, _ in run) < _MANY_ROWS:
            run.append(self._larger.popleft())
        if self._larger:
            asyncio.get_running_loop().call_soon(self._score_larger)
        _settle([future for _, future in run], lambda: self._served.score_many([encoded for encoded, _ in run]))

    def _score(self) -> None:
        waiting, self._waiting = self._waiting, []
        futures = [future for _, _, future in waiting]
        if not _settle(futures, lambda: self._served.score_together([values for values, _, _ in waiting])):
            for _, body, future in waiting:
                self._score_closely(body, future)

    def _score_closely(self, body: bytes, future: "asyncio.Future[Scored]") -> None:
        if future.done():
            return
        try:
            scored = self._served.score(self._served.read(body))
        except Problem as problem:
            future.set_exception(problem)
            return
        self._served.count(scored)
        future.set_result(scored)


def _settle(futures: "list[asyncio.Future[Scored]]", score: "Callable[[], list[Scored] | None]") -> bool:
    """Give each its result, or all what was raised instead; tell whether there was either."""
    try:
        scored = score()
    except Exception as error:  # noqa: BLE001  # it is raised again where each waits
        for future in futures:
            if not future.done():
                future.set_exception(error)
        return True
    for future, each in zip(futures, scored or (), strict=False):
        if not future.done():  # its caller may have gone
            future.set_result(each)
    return scored is not None
