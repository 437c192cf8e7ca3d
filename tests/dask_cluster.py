"""A Dask scheduler and workers for tests, each a process that listens on loopback."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 60.0


@dataclass
class Cluster:
    """A scheduler and its workers, started in `clone` as the documentation says; they write into `folder`."""

    clone: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._file = self.folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0")
        deadline = time.monotonic() + SECONDS
        while not (self._file.exists() and self._file.read_text("utf-8").endswith("}")):
            assert self.scheduler.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.address = str(json.loads(self._file.read_text("utf-8"))["address"])

    def add_worker(self) -> subprocess.Popen[str]:
        """Start a worker with one thread."""
        options = "--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder)
        self.workers.append(self._start("worker", *options))
        return self.workers[-1]

    def worker_seconds(self) -> float:
        """Return the processor time that the workers have used."""
        ticks = os.sysconf("SC_CLK_TCK")
        found = 0.0
        for worker in self.workers:
            numbers = Path(f"/proc/{worker.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
            found += (int(numbers[11]) + int(numbers[12])) / ticks
        return found

    def _start(self, kind: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(self._file), *options]
        return subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--no-dashboard"],
            cwd=self.clone,
            env=os.environ | self.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )


@contextmanager
def running_cluster(clone: Path, folder: Path, workers: int = 2, **variables: str) -> Iterator[Cluster]:
    """Start a cluster with `variables` in its environment; at the end of the block nothing of it is left."""
    made = Cluster(clone, folder, variables)
    try:
        for _ in range(workers):
            made.add_worker()
        yield made
    finally:
        for each in (made.scheduler, *made.workers):
            each.kill()
            each.wait()
