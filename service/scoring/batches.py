"""Score concurrent requests together, in one run of the model.

A call into ONNX Runtime or NumPy takes about as long for one row as for many. And a forest of some megabytes is
larger than a core's cache, so rows that are scored together share what they load from memory. So a request waits for
two turns of the event loop, some microseconds, and is scored with the requests that arrived by then.
"""

import asyncio
from collections import deque
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import numpy as np

from service.encoding import Matrix
from service.scoring.serving import Scored, Served

_MANY_ROWS: Final = 512
"""A run takes no more requests once it has this many rows, 5 ms of a forest; the next run takes the others."""


class _Waiting(NamedTuple):
    served: Served
    numbers: Matrix
    scored: asyncio.Future[Scored]


class Batches:
    """Scores requests of one event loop together, if the model's rows are independent."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()

    async def score(self, served: Served, numbers: Matrix) -> Scored:
        """Score a request's rows, together with other waiting requests."""
        if not served.rows_are_independent:
            return served.score(numbers)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            # Two turns later: by then, 14 of 16 concurrent callers have sent their requests; one turn later, only 9.
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
        except Exception as error:  # noqa: BLE001  # raised again in each waiting request
            for request in requests:
                if not request.scored.done():
                    request.scored.set_exception(error)
            return
        for request, part in zip(requests, parts, strict=True):
            if not request.scored.done():  # the caller may have disconnected
                request.scored.set_result(part)

    def _take(self) -> list[_Waiting]:
        """Remove and return waiting requests for the same model, up to about _MANY_ROWS rows."""
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
