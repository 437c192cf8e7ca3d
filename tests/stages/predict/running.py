"""Run the command as users do, to stop it, its workers or what it needs in the middle."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.files import md5

FILES, ROWS = 24, 10_000


@dataclass
class Scoring:
    """The command that scores the tables of `source`, by default into `out.csv`."""

    folder: Path
    """Where it writes."""
    root: Path
    environment: dict[str, str]
    source: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *options: str, out: str = "out.csv") -> list[str]:
        target = out if "://" in out else str(self.folder / out)
        return [sys.executable, "-m", "stages.predict", self.source, target, *options]

    def start(self, *options: str, out: str = "out.csv") -> subprocess.Popen[str]:
        """Start the command; return when it has made some parts."""
        process = subprocess.Popen(
            self.command(*options, out=out),
            env=self.environment,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        if "://" not in out:
            wait_for(lambda: len(self.parts()) > 3, process)
        return process

    def run(self, *options: str, out: str = "out.csv") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options, out=out),
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def md5(self, name: str = "out.csv") -> str:
        return md5(self.folder / name)

    def parts(self) -> list[Path]:
        """Return the markers of complete parts."""
        return list((self.folder / ".out.csv.parts/_parts").glob("*.json"))

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    command = ["ps", "-o", "pid=", "--ppid", str(pid)]
    return [int(each) for each in subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()]


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that score, which the command's fork server has started."""
    return [worker for server in children(process.pid) for worker in children(server)]


def assert_ended(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stopped_in_one_line(process: subprocess.Popen[str], message: str) -> None:
    """Check that the command stops within 30 s, with one line that says why, and keeps what it has."""
    begin = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert time.monotonic() - begin < 30, output
    assert message in output, output
    assert [line for line in output.splitlines() if "error" in line.lower()] == [output.splitlines()[-1]], output
    assert "the same command goes on from there" in output
    assert "Traceback" not in output
