"""Until there is a model something answers in place of the API."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.containers.conftest import until


@dataclass(frozen=True)
class Waiting:
    """The program that waits, and the folder of releases that it looks into."""

    process: subprocess.Popen[str]
    volume: Path
    port: int

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Give the status and what is said."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  # as above
                return answer.status, json.load(answer)["detail"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["detail"]

    def answers(self) -> bool:
        """Tell whether the port is open."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def waiting(root: Path, tmp_path: Path) -> Iterator[Waiting]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    command = [sys.executable, "-IS", str(root / "deploy/images/wait.py"), str(tmp_path / "current/release.json")]
    environment = {"HOST": "127.0.0.1", "PORT": str(port)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        started = Waiting(process, tmp_path, port)
        try:
            until(started.answers, "an open port", 20)
            yield started
        finally:
            process.kill()


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/predict"), ("GET", "/health/ready")])
def test_it_says_that_there_is_no_model_yet(waiting: Waiting, method: str, path: str) -> None:
    status, detail = waiting.ask(path, method)

    assert status == 503
    assert "the first training has not ended" in detail


def test_it_says_when_the_training_failed(waiting: Waiting) -> None:
    (waiting.volume / "failed").touch()
    status, detail = waiting.ask("/docs")

    assert status == 503
    assert "the training failed, `docker compose logs trainer` says why" in detail


def test_one_probe_after_a_failure_ends_the_start_period(waiting: Waiting) -> None:
    before = waiting.ask("/health/ready")[0]
    (waiting.volume / "failed").touch()
    after = [waiting.ask("/health/ready")[0] for _ in range(3)]

    assert (before, after) == (503, [200, 503, 503])


def test_it_ends_as_soon_as_there_is_a_release(waiting: Waiting) -> None:
    (waiting.volume / "current").mkdir()
    (waiting.volume / "current/release.json").touch()

    assert waiting.process.wait(10) == 0
    assert not waiting.answers()


def test_being_asked_to_stop_it_stops(waiting: Waiting) -> None:
    began = time.monotonic()
    waiting.process.send_signal(signal.SIGTERM)

    assert waiting.process.wait(10) == -signal.SIGTERM
    assert time.monotonic() - began < 5
