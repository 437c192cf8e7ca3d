"""`wait.py`, which answers in place of the API until there is a model."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.processes import free_port


@pytest.fixture
def process(root: Path, tmp_path: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-IS", str(root / "deploy/images/wait.py"), str(tmp_path / "current/release.json")]
    environment = {"HOST": "127.0.0.1", "PORT": str(port)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as started:
        yield started
        started.kill()


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture
def waiting(process: subprocess.Popen[str], port: int) -> Iterator[httpx.Client]:
    """Return a client of `wait.py`."""
    assert process.stderr
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        assert "no model yet" in process.stderr.readline()
        yield client


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/predict"), ("GET", "/health/ready")])
def test_it_answers_that_there_is_no_model_yet(waiting: httpx.Client, method: str, path: str) -> None:
    answer = waiting.request(method, path)

    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "the first training is still running" in answer.json()["detail"]


def test_one_probe_after_a_failed_training_ends_the_start_period(waiting: httpx.Client, tmp_path: Path) -> None:
    before = waiting.get("/health/ready").status_code
    (tmp_path / "failed").touch()
    after = [waiting.get("/health/ready").status_code for _ in range(3)]

    assert (before, after) == (503, [200, 503, 503])
    assert "the training failed, `docker compose logs trainer` says why" in waiting.get("/docs").json()["detail"]


def test_it_ends_when_there_is_a_release(waiting: httpx.Client, process: subprocess.Popen[str], tmp_path: Path) -> None:
    assert waiting.get("/").status_code == 503
    (tmp_path / "current").mkdir()
    (tmp_path / "current/release.json").touch()

    assert process.wait(10) == 0


def test_it_stops_at_a_signal(waiting: httpx.Client, process: subprocess.Popen[str]) -> None:
    assert waiting.get("/").status_code == 503
    process.send_signal(signal.SIGTERM)

    assert process.wait(10) == -signal.SIGTERM
