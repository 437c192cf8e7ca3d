"""Killed and restarted, on one process, several or a Dask cluster: the bytes are the same, and nothing is left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.files import md5

pytestmark = pytest.mark.slow
FILES, ROWS = 24, 20_000


@dataclass
class Scoring:
    """A folder with tables in `in`, and the command that scores them into `out.csv`."""

    folder: Path
    root: Path
    environment: dict[str, str]

    def arguments(self, *options: str, out: str = "out.csv") -> list[str]:
        return [sys.executable, "-m", "stages.predict", str(self.folder / "in"), str(self.folder / out), *options]

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start the command; return when it has made some parts."""
        process = subprocess.Popen(
            self.arguments(*options),
            env=self.environment,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_for(lambda: len(self.parts()) > 3, process)
        return process

    def run(self, *options: str, out: str = "out.csv") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.arguments(*options, out=out),
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def md5(self, name: str = "out.csv") -> str:
        return md5(self.folder / name)

    def expected(self) -> str:
        """Return the MD5 of the answers from one process."""
        assert self.run(out="one.csv").returncode == 0
        return self.md5("one.csv")

    def parts(self) -> list[Path]:
        """Return the markers of complete parts."""
        return list((self.folder / ".out.csv.parts/_parts").glob("*.json"))

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def scoring(rows: pd.DataFrame, live: Any, root: Path, tmp_path: Path) -> Scoring:
    (tmp_path / "in").mkdir()
    table = pd.concat([rows] * (ROWS // len(rows)), ignore_index=True)
    for number in range(FILES):
        table.assign(size=table["size"] + number / 100).to_parquet(tmp_path / f"in/{number:02}.parquet")
    return Scoring(tmp_path, root, os.environ | {"RELEASES": str(live[2].root.releases)})


def workers(process: subprocess.Popen[str]) -> list[int]:
    command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [int(line.split()[0]) for line in listed if "spawn_main" in line]


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_worker_s_part_is_made_again(scoring: Scoring) -> None:
    expected = scoring.expected()
    process = scoring.start("--workers", "2")
    os.kill(workers(process)[0], signal.SIGKILL)

    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "a worker process has ended; its work is done again" in output
    assert scoring.md5() == expected
    assert scoring.left() == ["in", "one.csv", "out.csv"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_after_a_kill_no_worker_is_left_and_the_same_command_goes_on(scoring: Scoring, number: signal.Signals) -> None:
    process = scoring.start("--workers", "2")
    pids = workers(process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)

    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert scoring.left() == [".out.csv.parts", "in"]
    if number != signal.SIGKILL:
        assert "Traceback" not in output
        assert "the same command goes on from there" in output
        assert not list(scoring.folder.rglob("*.tmp"))

    again = scoring.run("--workers", "2")
    assert f"{FILES * ROWS:,} rows scored" in again.stderr
    assert scoring.md5() == scoring.expected()
    assert scoring.left() == ["in", "one.csv", "out.csv"]


def test_a_part_is_made_again_if_its_input_changed_or_it_is_damaged(scoring: Scoring) -> None:
    process = scoring.start()
    process.kill()
    process.communicate()
    table = pd.read_parquet(scoring.folder / "in/00.parquet")
    table.assign(size=table["size"] + 1).to_parquet(scoring.folder / "in/00.parquet")
    part = scoring.folder / ".out.csv.parts/part-000001"
    part.write_bytes(part.read_bytes()[:-1])

    assert scoring.run().returncode == 0
    assert scoring.md5() == scoring.expected()


@dataclass
class Cluster:
    address: str
    scheduler: subprocess.Popen[str]
    workers: list[subprocess.Popen[str]]


@pytest.fixture
def cluster(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a Dask scheduler with two workers."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"

    def start(module: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--scheduler-file", str(file), *options]
        return subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--no-dashboard"],
            env=os.environ | {"PYTHONPATH": str(root)},
            stderr=subprocess.DEVNULL,
            text=True,
        )

    scheduler = start("dask_scheduler", "--port", "0")
    wait_for(file.exists, scheduler)
    options = "--no-nanny", "--nthreads", "1", "--local-directory", str(folder)
    made = [start("dask_worker", *options) for _ in range(2)]
    yield Cluster(json.loads(file.read_text("utf-8"))["address"], scheduler, made)
    for each in (scheduler, *made):
        each.kill()
        each.wait()


def test_a_cluster_gives_the_same_bytes_also_if_a_worker_is_killed(scoring: Scoring, cluster: Cluster) -> None:
    process = scoring.start("--scheduler", cluster.address)
    cluster.workers[0].kill()

    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert scoring.md5() == scoring.expected()


def test_a_killed_scheduler_ends_the_command_in_one_line(scoring: Scoring, cluster: Cluster) -> None:
    process = scoring.start("--scheduler", cluster.address)
    begin = time.monotonic()
    cluster.scheduler.kill()

    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert time.monotonic() - begin < 30
    assert "Traceback" not in output
    assert "the Dask scheduler" in output
    assert scoring.left() == [".out.csv.parts", "in"]


def test_without_a_scheduler_the_command_stops_in_one_line(scoring: Scoring) -> None:
    done = scoring.run("--scheduler", "tcp://127.0.0.1:9")

    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "tcp://127.0.0.1:9: no Dask scheduler answers" in done.stderr
    assert scoring.left() == ["in"]
