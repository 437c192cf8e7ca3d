"""Counters of several processes add up, survive their process, and never outgrow the disk by surprise."""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from service.counting.collector import CountersCollector
from service.counting.counters import Block, Counters
from service.counting.families import Family
from service.counting.totals import totals
from service.feedback.counts import FeedbackMetrics

REQUESTS = Family("requests", "Requests.", labels=("route",), series=(("/a",), ("/b",)))
SECONDS = Family("seconds", "Durations.", kind="histogram", bounds=(0.1, 1.0))
BUSY = Family("busy", "Requests under way.", kind="gauge")
VERSION = Family("version", "What is served.", kind="gauge", labels=("v",), series=(("1",),), merge="max")


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Counters]:
    made = Counters(tmp_path)
    yield made
    made.close()


def total(folder: Path, name: str, *labels: str) -> list[float]:
    found = {each.family.name: each for each in totals(folder)}
    values: list[float] = found[name].values[labels].tolist()
    return values


def test_two_workers_add_up(tmp_path: Path, counters: Counters) -> None:
    other = Counters(tmp_path)
    for amount, each in ((1, counters), (2, other)):
        block = each.block(REQUESTS)
        block.add(block.index("requests", "/b"), amount)
    other.close()

    assert total(tmp_path, "requests", "/b") == [3]
    assert total(tmp_path, "requests", "/a") == [0]


def test_indices_that_come_twice_count_twice(tmp_path: Path, counters: Counters) -> None:
    counters.block(REQUESTS).add_each(np.array([[0, 1], [0, 0]]))

    assert total(tmp_path, "requests", "/a") == [3]


@given(values=st.lists(st.floats(-10, 10), max_size=20))
def test_a_histogram_counts_each_value_in_one_bucket(
    values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("counters")
    counters = Counters(folder)
    block = counters.block(SECONDS)
    for value in values:
        block.observe(block.index("seconds"), SECONDS.bounds, value)

    *buckets, summed = total(folder, "seconds")
    counters.close()

    assert buckets[0] == sum(value <= 0.1 for value in values)
    assert sum(buckets) == len(values)
    assert summed == pytest.approx(sum(values))


def test_a_worker_that_starts_again_counts_on_in_the_same_file(tmp_path: Path) -> None:
    for _ in range(3):
        counters = Counters(tmp_path)
        counters.block(REQUESTS).add(0)
        counters.close()

    assert total(tmp_path, "requests", "/a") == [3]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_living_worker_s_file_is_not_taken_over(tmp_path: Path, counters: Counters) -> None:
    other = Counters(tmp_path)
    other.block(REQUESTS)
    other.close()

    assert len(list(tmp_path.iterdir())) == 2


COUNT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from service.counting.counters import Counters
from service.counting.families import Family
block = Counters(Path(sys.argv[1])).block(Family("requests", ""), Family("busy", "", kind="gauge"))
for _ in range(1000):
    block.add(0)
block.set(1, 1.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_worker_s_counts_stay_and_its_gauges_go(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", COUNT_AND_DIE, tmp_path], check=False)

    assert died.returncode == -signal.SIGKILL
    assert total(tmp_path, "requests") == [1000]
    assert "busy" not in {each.family.name for each in totals(tmp_path)}


def test_a_gauge_counts_while_its_block_is_in_use(tmp_path: Path, counters: Counters) -> None:
    block = counters.block(BUSY)
    block.set(0, 5)
    assert total(tmp_path, "busy") == [5]

    block.retire()

    assert "busy" not in {each.family.name for each in totals(tmp_path)}


def test_a_gauge_begins_at_zero_whoever_had_the_block_before(tmp_path: Path) -> None:
    first = Counters(tmp_path)
    first.block(BUSY).set(0, 5)
    first.close()

    second = Counters(tmp_path)
    second.block(BUSY)

    assert total(tmp_path, "busy") == [0]
    second.close()


def test_gauges_of_workers_make_their_sum_or_their_largest(tmp_path: Path, counters: Counters) -> None:
    other = Counters(tmp_path)
    for each in (counters, other):
        block: Block = each.block(BUSY, VERSION)
        block.set(block.index("busy"), 1)
        block.set(block.index("version", "1"), 1)

    assert (total(tmp_path, "busy"), total(tmp_path, "version", "1")) == ([2], [1])
    other.close()


def test_counters_of_a_former_layout_stay_beside_the_new_ones(tmp_path: Path, counters: Counters) -> None:
    counters.block(REQUESTS).add(0)
    wider = Family("requests", "Requests.", labels=("route",), series=(("/a",), ("/c",)))

    counters.block(wider).add(1)

    assert [total(tmp_path, "requests", route) for route in ("/a", "/b", "/c")] == [[1], [0], [1]]


def test_a_layout_that_comes_back_takes_no_more_space(tmp_path: Path, counters: Counters) -> None:
    for family in (REQUESTS, SECONDS, REQUESTS, SECONDS):
        counters.block(family)

    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == 2 * resource.getpagesize()


def test_a_block_left_half_made_is_no_block(tmp_path: Path) -> None:
    counters = Counters(tmp_path)
    counters.block(REQUESTS).add(0)
    counters.close()
    (file,) = tmp_path.iterdir()
    os.truncate(file, file.stat().st_size + resource.getpagesize())

    again = Counters(tmp_path)
    again.block(SECONDS)
    again.close()

    assert {each.family.name for each in totals(tmp_path)} == {"requests", "seconds"}


FILL_THE_DISK = """
import resource, signal, sys
from pathlib import Path
from service.counting.counters import Counters
from service.counting.families import Family
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
counters = Counters(Path(sys.argv[1]))
first = counters.block(Family("requests", ""))
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    counters.block(Family("many", "", labels=("n",), series=tuple((str(n),) for n in range(5000))))
except OSError:
    first.add(0)
    print("refused, counts on")
"""


@pytest.mark.slow
def test_a_full_disk_is_met_before_anything_is_mapped(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILL_THE_DISK, tmp_path], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "refused, counts on\n")
    assert total(tmp_path, "requests") == [1]


def test_prometheus_sees_every_kind(tmp_path: Path, counters: Counters) -> None:
    block = counters.block(REQUESTS, SECONDS, BUSY)
    block.observe(block.index("seconds"), SECONDS.bounds, 0.5)
    registry = CollectorRegistry()
    registry.register(CountersCollector(tmp_path))

    lines = generate_latest(registry).decode().splitlines()

    assert {
        'requests_total{route="/a"} 0.0',
        'seconds_bucket{le="0.1"} 0.0',
        'seconds_bucket{le="+Inf"} 1.0',
        "seconds_sum 0.5",
        "busy 0.0",
        "# TYPE requests_total counter",
    } <= set(lines)


def test_blocks_made_by_two_threads_at_once_stand_apart(tmp_path: Path) -> None:
    families = [
        Family("many", "Many.", labels=("n",), series=tuple((str(n),) for n in range(50))),
        Family("one", "One."),
    ]
    for number in range(50):
        folder = tmp_path / str(number)
        counters, start = Counters(folder), threading.Barrier(len(families))
        counters.begin("v")

        def make(family: Family, counters: Counters = counters, start: threading.Barrier = start) -> Block | None:
            start.wait()
            return counters.block_of("v", family)

        with ThreadPoolExecutor(len(families)) as threads:
            for block in threads.map(make, families):
                assert block is not None
                block.add(0)
        assert [each.values[next(iter(each.values))][0] for each in totals(folder)] == [1.0, 1.0]
        counters.close()


def test_a_version_taken_into_service_begins_its_truths_at_zero(counters: Counters, tmp_path: Path) -> None:
    counters.begin("v1")
    truths = FeedbackMetrics(counters, "v1")
    counters.begin("v2")
    truths.serve("v2")
    assert total(tmp_path, "feedback_rows", "v2", "correct") == [0.0]
