"""What requests count in plain numbers, added to the instruments four times a second and before each scrape."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import prometheus_client

FLUSH_SECONDS: Final = 0.25
"""A worker that is killed loses so much of histograms and bins; counters of requests lose nothing."""


class Flusher:
    """Calls each function that has something to add. Use it in the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: set[Callable[[], None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def soon(self, flush: Callable[[], None]) -> None:
        """Call `flush` soon."""
        self._waiting.add(flush)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Call all now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, set()
        for flush in waiting:
            flush()


class Histogram(prometheus_client.Histogram):
    """A histogram that takes many values at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe values: hundreds cost as much as a few."""
        counts = np.bincount(np.searchsorted(self._upper_bounds, amounts))
        for place in np.flatnonzero(counts).tolist():
            self._buckets[place].inc(float(counts[place]))
        self._sum.inc(float(sum(amounts)))
