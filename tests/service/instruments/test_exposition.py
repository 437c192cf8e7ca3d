"""How often metrics are rendered, and what is in them."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Iterator

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from service.instruments.registry import Exposition


class Counting(Collector):
    """Counts how often it is rendered, in which thread, and what was counted until then."""

    def __init__(self) -> None:
        self.requests = 0.0
        self.threads: list[int] = []

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        self.threads.append(threading.get_ident())
        family = CounterMetricFamily("requests", "Requests.")
        family.add_metric([], self.requests)
        yield family


@pytest.fixture
def counting() -> Counting:
    return Counting()


def _exposition(counting: Counting, seconds: float) -> Exposition:
    registry = CollectorRegistry()
    registry.register(counting)
    return Exposition(registry, lambda: None, seconds)


async def _requests(text: Awaitable[bytes]) -> float:
    return float((await text).split()[-1])


def test_many_callers_at_once_share_one_rendering_off_the_event_loop(counting: Counting) -> None:
    async def ask() -> list[bytes]:
        exposition = _exposition(counting, 60)
        return await asyncio.gather(*(exposition.text() for _ in range(50)))

    assert len({*asyncio.run(ask())}) == 1
    assert len(counting.threads) == 1
    assert threading.get_ident() not in counting.threads


def test_callers_in_a_loop_get_one_rendering_an_interval(counting: Counting) -> None:
    async def ask() -> float:
        exposition, start = _exposition(counting, 0.1), time.monotonic()

        async def loop() -> None:
            for _ in range(5):
                await exposition.text()

        await asyncio.gather(*(loop() for _ in range(8)))
        return time.monotonic() - start

    assert asyncio.run(ask()) >= 0.4
    assert len(counting.threads) == 5


def test_a_caller_that_leaves_does_not_affect_the_others(counting: Counting) -> None:
    async def ask() -> float:
        exposition = _exposition(counting, 0.05)
        await exposition.text()
        leaving, staying = (asyncio.create_task(exposition.text()) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        return await _requests(staying)

    assert asyncio.run(ask()) == 0
