"""A real MLflow server on loopback instead of the file; if it is down, the stages report it."""

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from tests.e2e.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("mlflow-server")]
PATIENCE = 120
"""Timeout in seconds for the start of a server on a busy machine."""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def running(project: Project, *command: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a process group of its own until the block ends; it answers at `url` once it is up."""
    with (project.path.parent / f"{command[1]}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=project.path, env=project.environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(url):
            assert process.poll() is None, f"{command} ended"
            assert time.monotonic() < deadline, f"{command} does not answer"
            time.sleep(0.2)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  # a URL of our own
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture(scope="module")
def served(trained: Callable[[], Project]) -> Project:
    """Return a project whose model was trained and registered on a server, which is down again when tests run.

    `answer.json` beside its folder holds what `mlflow models serve` answered to the input example.
    """
    made = trained()
    (made.path / "mlflow.db").unlink()
    port, serving = free_port(), free_port()
    uri = f"http://127.0.0.1:{port}"
    store = f"sqlite:///{made.path.parent}/server.db"
    command = ["mlflow", "server", "--backend-store-uri", store, "--artifacts-destination", str(made.path.parent / "a")]
    made.environment["MLFLOW_TRACKING_URI"] = uri
    made.environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # eight processes, which outlive the server
    with running(made, *command, "--port", str(port), "--workers", "1", url=f"{uri}/health"):
        made.ok("dvc", "repro", "--force", "--single-item", "train", "register")
        made.ok("python", "-m", "stages.commands.promote", RELEASES="models/releases")
        model = ["mlflow", "models", "serve", "-m", "models:/flights@champion", "--env-manager", "local"]
        with running(made, *model, "-h", "127.0.0.1", "-p", str(serving), url=f"http://127.0.0.1:{serving}/health"):
            (made.path.parent / "answer.json").write_text(ask(serving), encoding="utf-8")
    return made


def ask(port: int) -> str:
    body = json.dumps({"dataframe_records": [{"a": 2.5, "b": 0.1, "c": "x"}, {"a": -2.5, "b": None, "c": "y"}]})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body.encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # a URL of our own
        return str(response.read().decode())


def test_a_server_replaces_the_file_and_mlflow_serves_the_champion(served: Project) -> None:
    assert not (served.path / "mlflow.db").exists()
    assert (served.path.parent / "server.db").exists()
    assert json.loads((served.path / "metrics/registration.json").read_text("utf-8"))["gate"]["passed"]
    assert json.loads((served.path.parent / "answer.json").read_text("utf-8")) == {"predictions": ["yes", "no"]}


@pytest.mark.parametrize("stage", ["train", "register"])
def test_a_server_that_is_down_fails_the_stage_with_one_line(served: Project, stage: str) -> None:
    output = served.path / {"train": "models/model.joblib", "register": "metrics/registration.json"}[stage]
    before = output.stat().st_mtime_ns
    done = served.run("python", "-m", f"stages.{stage}")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{stage}: error: MLflow at http://127.0.0.1:")
    assert len(done.stderr.splitlines()) == 1
    assert "MLflow run" not in done.stderr
    assert output.stat().st_mtime_ns == before
