"""Render the text of GET /metrics, at most once in an interval."""

import asyncio
from collections.abc import Callable
from time import monotonic

from prometheus_client import CollectorRegistry, generate_latest


class Exposition:
    """Renders the metrics in a thread, at most once in an interval; all waiting requests get the same text.

    A request waits for a rendering that begins after the request arrived, so its numbers are never old. After an
    interval without requests the next one is answered at once; more frequent ones wait for up to an interval.
    """

    def __init__(self, registry: CollectorRegistry, flush: Callable[[], None], seconds: float) -> None:
        self._registry = registry
        self._flush = flush
        self._seconds = seconds
        self._rendering = asyncio.Lock()
        self._text = b""
        self._began = self._ended = -seconds

    async def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        arrived = monotonic()
        async with self._rendering:
            if self._began < arrived:  # else another request's rendering began after this one arrived
                await asyncio.sleep(self._ended + self._seconds - monotonic())
                began = monotonic()
                self._flush()
                self._text = await asyncio.to_thread(generate_latest, self._registry)
                self._began, self._ended = began, monotonic()
            return self._text
