"""Render the text of GET /metrics, at most once in an interval."""

import asyncio
from collections.abc import Callable

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
        self._next: asyncio.Task[bytes] | None = None
        self._free_at = 0.0

    async def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        if self._next is None:
            self._next = asyncio.create_task(self._render(), name="metrics")
        return await asyncio.shield(self._next)  # a caller that disconnects doesn't cancel the others' rendering

    async def _render(self) -> bytes:
        clock = asyncio.get_running_loop().time
        async with self._rendering:
            await asyncio.sleep(max(0.0, self._free_at - clock()))
            self._next = None
            self._flush()
            try:
                return await asyncio.to_thread(generate_latest, self._registry)
            finally:
                self._free_at = clock() + self._seconds
