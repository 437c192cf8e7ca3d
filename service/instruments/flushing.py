"""Collect measurements in plain numbers; add them to the instruments four times a second and before each scrape."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import prometheus_client

FLUSH_SECONDS: Final = 0.25
"""A killed worker loses up to this much of its histograms and bins; request counters lose nothing."""


class Flusher:
    """Calls the functions that add collected numbers to instruments. Use it in the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: set[Callable[[], None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self, flush: Callable[[], None]) -> None:
        """Call `flush` within FLUSH_SECONDS, once."""
        self._waiting.add(flush)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Call the scheduled functions now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, set()
        for flush in waiting:
            flush()


class Histogram(prometheus_client.Histogram):
    """A histogram that observes many values at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe all `amounts`; hundreds take hardly longer than a few."""
        counts = np.bincount(np.searchsorted(self._upper_bounds, amounts))
        for place in np.flatnonzero(counts).tolist():
            self._buckets[place].inc(float(counts[place]))
        self._sum.inc(float(sum(amounts)))
