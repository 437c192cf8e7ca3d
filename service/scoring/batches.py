"""Requests that come at the same moment, scored in one run of the model.

Much of what a row costs is the same for one row as for many: a call into ONNX Runtime, a
comparison with the bounds, digits. And a forest of some megabytes fits into no core's
cache; what one row fetched, the next finds there. So a request waits until the event loop
has looked twice for what else has come, some microseconds, and all are scored together.
"""

import asyncio
from collections import deque
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import numpy as np

from service.encoding import Matrix
from service.scoring.serving import Scored, Served

_MANY_ROWS: Final = 512
"""With so many rows a run is full, 5 ms of a forest; whatever else waits is scored in the next one."""


class _Waiting(NamedTuple):
    served: Served
    numbers: Matrix
    scored: asyncio.Future[Scored]


class Batches:
    """Scores requests of one event loop together, where the model allows it."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()

    async def score(self, served: Served, numbers: Matrix) -> Scored:
        """Score a request's rows with whatever else has come."""
        if not served.rows_are_independent:
            return served.score(numbers)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            # In the turn after the next one: of 16 callers 14 have sent their requests by then, instead of 9.
            loop.call_soon(loop.call_soon, self._run)
        scored: asyncio.Future[Scored] = loop.create_future()
        self._waiting.append(_Waiting(served, numbers, scored))
        return await scored

    def _run(self) -> None:
        requests = self._take()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        try:
            parts = _score(requests)
        except Exception as error:  # noqa: BLE001  # it is raised again where each waits
            for request in requests:
                if not request.scored.done():
                    request.scored.set_exception(error)
            return
        for request, part in zip(requests, parts, strict=True):
            if not request.scored.done():  # its caller may have gone
                request.scored.set_result(part)

    def _take(self) -> list[_Waiting]:
        """Return requests for the same model, until there are many rows."""
        waiting, requests, rows = self._waiting, list[_Waiting](), 0
        while waiting and rows < _MANY_ROWS and (not requests or waiting[0].served is requests[0].served):
            requests.append(waiting.popleft())
            rows += len(requests[-1].numbers)
        return requests


def _score(requests: list[_Waiting]) -> list[Scored]:
    served = requests[0].served
    if len(requests) == 1:
        return [served.score(requests[0].numbers)]
    whole = served.score(np.concatenate([each.numbers for each in requests]))
    ends = accumulate((len(each.numbers) for each in requests), initial=0)
    return [whole.part(start, end) for start, end in pairwise(ends)]
