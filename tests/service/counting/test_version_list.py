"""Counts of the versions served last stay, those before leave for all workers at once, and nothing else is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.counting.collector import CountersCollector
from service.counting.counters import Block, Counters
from service.counting.families import Family
from service.counting.totals import totals
from service.counting.version_list import KEPT

REQUESTS = Family("requests", "Requests.")


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Counters]:
    made = Counters(tmp_path)
    yield made
    made.close()


def requests(folder: Path) -> float:
    (found,) = [each.values[()] for each in totals(folder) if each.family.name == "requests"]
    return float(found[0])


def of_version(version: str) -> tuple[Family, Family]:
    series = ((version,),)
    rows = Family("rows", "Rows.", labels=("version",), series=series)
    return rows, Family("info", "What is served.", kind="gauge", labels=("version",), series=series, merge="max")


def serve(counters: Counters, version: str) -> Block:
    counters.begin(version)
    block = counters.block_of(version, *of_version(version))
    assert block
    block.set(block.index("info", version), 1.0)
    return block


def shown(folder: Path, name: str = "rows") -> dict[str, float]:
    return {version: float(values[0]) for each in totals(folder) if each.family.name == name
            for (version,), values in each.values.items()}  # fmt: skip


def test_fifty_reloads_and_fifty_deaths_leave_few_files_and_every_count(tmp_path: Path) -> None:
    workers = [Counters(tmp_path) for _ in range(2)]
    sizes = []
    for number in range(50):
        for worker in workers:
            worker.block(REQUESTS).add(0)
            serve(worker, f"v{number:02}").add(0)
        workers[number % 2].close()
        workers[number % 2] = Counters(tmp_path)
        registry = CollectorRegistry()
        registry.register(CountersCollector(tmp_path))
        sizes.append(generate_latest(registry).count(b"\n"))
    for worker in workers:
        worker.close()

    assert requests(tmp_path) == 100
    assert shown(tmp_path) == {f"v{number:02}": 2 for number in range(50 - KEPT, 50)}
    assert len(list(tmp_path.glob("*.counters"))) == 2 * (KEPT + 1)
    assert max(sizes) == sizes[KEPT - 1]


def test_a_version_leaves_for_all_workers_at_once(tmp_path: Path, counters: Counters) -> None:
    other = Counters(tmp_path)
    for worker in (counters, other):
        serve(worker, "old").add(0)
    seen = [shown(tmp_path).get("old")]
    for number in range(KEPT):
        counters.begin(f"v{number}")
        seen.append(shown(tmp_path).get("old"))
    other.close()

    assert seen == [2] * KEPT + [None]


def test_a_reader_who_meets_a_version_that_leaves_begins_again(
    tmp_path: Path, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(counters, "old").add(0)
    counters.block(REQUESTS).add(0)
    read = Path.read_bytes

    def read_late(path: Path) -> bytes:
        monkeypatch.undo()
        for number in range(KEPT):
            counters.begin(f"v{number}")
        (tmp_path / "0.old.counters").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_late)

    assert shown(tmp_path) == {}
    assert requests(tmp_path) == 1


def test_a_version_that_comes_back_counts_on_and_is_the_last_to_leave(tmp_path: Path, counters: Counters) -> None:
    for version in ("one", "two", "one"):
        serve(counters, version).add(0)
    for number in range(KEPT - 1):
        counters.begin(f"v{number}")

    assert shown(tmp_path) == {"one": 2}


def test_a_gauge_of_a_dead_worker_s_version_is_not_its_heir_s(tmp_path: Path) -> None:
    died = Counters(tmp_path)
    serve(died, "old").add(0)
    died.close()
    heir = Counters(tmp_path)
    serve(heir, "new")

    assert (shown(tmp_path, "info"), shown(tmp_path)) == ({"new": 1}, {"old": 1, "new": 0})
    heir.close()


def test_a_version_that_was_not_served_lately_gets_no_series(tmp_path: Path, counters: Counters) -> None:
    assert counters.block_of("unknown", *of_version("unknown")) is None
    assert shown(tmp_path) == {}
