"""Several workers' counts add up, outlive their workers, and leave with their version of the model."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from pathlib import Path
from prometheus_client import CollectorRegistry, Counter, Gauge
from service.instruments.worker_files import WorkerFiles

files = WorkerFiles(Path(sys.argv[1]))
counter = Counter("rows", "Rows.", ["version"], registry=None)
gauge = Gauge("busy", "Requests.", multiprocess_mode="livesum", registry=None)
for line in sys.stdin:
    match line.split():
        case ["count", version]:
            counter.labels(version).inc()
            gauge.inc()
        case ["keep", *versions]:
            files.keep_versions(versions)
            for version in {"a", "b"} - {*versions}:
                counter.remove_by_labels({"version": version})
            for version in versions:
                counter.labels(version)
    samples = [each for metric in files.collect() for each in metric.samples]
    print(json.dumps({each.labels.get("version", each.name): each.value for each in samples}), flush=True)
"""


class Worker:
    """A process that counts."""

    def __init__(self, folder: Path, processes: contextlib.ExitStack) -> None:
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.enter_context(self.process)
        processes.callback(self.process.kill)
        self.do()

    def do(self, line: str = "") -> dict[str, float]:
        """Do something; return what all workers have counted."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        found: dict[str, float] = json.loads(self.process.stdout.readline())
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    """Return a function that starts a worker."""
    with contextlib.ExitStack() as processes:
        yield lambda: Worker(tmp_path / "counts", processes)


def test_a_replacement_counts_on_in_the_files_of_the_dead_worker(start: Callable[[], Worker], tmp_path: Path) -> None:
    one, other = start(), start()
    one.do("count a")
    other.do("count a")
    assert one.do() == other.do() == {"a": 2, "busy": 2}
    files = {path.name for path in (tmp_path / "counts").iterdir()}
    for _ in range(3):
        one.kill()
        one = start()
        one.do("count a")

    assert one.do() == {"a": 5, "busy": 2}  # a dead worker's requests are over
    assert {path.name for path in (tmp_path / "counts").iterdir()} == files


def test_a_version_leaves_all_workers_and_starts_at_zero_when_it_returns(start: Callable[[], Worker]) -> None:
    one, other = start(), start()
    one.do("count a")
    one.do("count b")
    assert other.do("count a")["a"] == 2
    one.do("keep b")
    assert other.do("keep b").keys() == {"b", "busy"}

    assert one.do("keep a b")["a"] == 0


def test_without_the_folder_nothing_is_shown_and_no_request_fails(start: Callable[[], Worker], tmp_path: Path) -> None:
    worker = start()
    worker.do("count a")
    shutil.rmtree(tmp_path / "counts")
    assert worker.do("count a") == {}
