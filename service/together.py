"""Requests that come at the same moment, scored in one run of the model.

Much of what a row costs is the same for one row as for many: a call into ONNX Runtime, a
matrix made, a comparison with the bounds, decimals found. And a forest of some megabytes
fits into no core's cache; what one row fetched, the next finds there. So a small request
waits until the event loop has read what else has come meanwhile, some microseconds, and
all are scored together.
"""

import asyncio
import weakref
from typing import TYPE_CHECKING, Final

from service.problems import Problem

if TYPE_CHECKING:
    from service.rows import Values
    from service.serving import Scored, Served

FEW_BYTES: Final = 4096
"""Larger requests, of more than a few rows, are scored alone."""


class Together:
    """Scores small requests of one event loop together."""

    def __init__(self, served: "Served") -> None:
        # Whoever waits here holds it; held from here as well, a model replaced would stay in memory.
        self._served = weakref.proxy(served)
        self._waiting: list[tuple[Values, bytes, asyncio.Future[Scored]]] = []

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

    def _score(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            scored = self._served.score_together([values for values, _, _ in waiting])
            if scored is None:
                for _, body, future in waiting:
                    self._score_closely(body, future)
                return
            for each, (_, _, future) in zip(scored, waiting, strict=True):
                if not future.done():  # its caller may have gone
                    future.set_result(each)
        except Exception as error:  # noqa: BLE001  # it is raised again where each waits
            for _, _, future in waiting:
                if not future.done():
                    future.set_exception(error)

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
