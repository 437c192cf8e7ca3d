"""Which store is used, which run is found, and what an error of the store looks like."""

import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pytest

from stages import files
from stages.errors import UserError
from stages.runs import tracking

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, and undo the settings that `connect` makes."""
    monkeypatch.chdir(tmp_path)
    for name in [*tracking.SETTINGS, "MLFLOW_TRACKING_URI", "DVC_ROOT", tracking.EXPERIMENT]:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("uri", ["", "  ", "sqlite:///mlflow.db"])
def test_a_run_in_a_temporary_copy_uses_the_store_of_the_real_root(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    assert tracking.store_uri() == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.parametrize("uri", ["sqlite:////srv/mlflow.db", "http://mlflow:5000", "postgresql://db/mlflow"])
def test_another_store_is_used_as_it_is_named(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    assert tracking.store_uri() == uri


def test_a_run_is_found_by_its_model_and_its_experiment_in_a_store_created_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stages")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    files.TRAIN.parent.mkdir(parents=True)
    files.TRAIN.write_bytes(b"rows")
    experiment, again = tracking.connect("flights"), tracking.connect("flights")
    made = {}
    for name in ("", "tidy-ants"):
        monkeypatch.setenv(tracking.EXPERIMENT, name)
        tags = tracking.lineage() | {tracking.MODEL_MD5: "a" * 32}
        with mlflow.start_run(experiment_id=experiment, tags=tags) as active:
            made[name] = active.info.run_id

    for name, run_id in made.items():
        monkeypatch.setenv(tracking.EXPERIMENT, name)
        found = tracking.find_run(experiment, "a" * 32)
        assert found
        assert found.info.run_id == run_id
    assert tracking.find_run(experiment, "b" * 32) is None
    assert tags["dvc.data_md5"] == files.md5(files.TRAIN)
    assert (tags["git.revision"], tags["DVC_EXP_NAME"]) == ("-", "tidy-ants")
    assert again == experiment
    assert [record.message[:31] for record in caplog.records] == ["there is no MLflow store at sql"]
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"  # the user's


class Refusing(BaseHTTPRequestHandler):
    """Answers every request with the status in its path."""

    def do_GET(self) -> None:
        status = int(re.findall(r"\d+", self.path)[0])
        body = b"Invalid Host header - possible DNS rebinding attack detected"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  # the name that http.server looks for

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def error_of(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError) as raised:
        tracking.connect("flights")
    return str(raised.value)


@pytest.mark.parametrize(
    ("status", "expected"), [(403, "Invalid Host header"), (404, "404"), (500, "it answers with the error 500;")]
)
def test_the_error_of_a_server_is_reported_without_the_password(
    status: int, expected: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = error_of(f"{server.replace('//', '//ada:s3cr3t@')}/{status}", monkeypatch)

    assert expected in message
    assert "ada:***@127.0.0.1" in message
    assert "s3cr3t" not in message
    assert "MLFLOW_TRACKING_URI" in message


@pytest.mark.parametrize(
    ("listening", "expected"),
    [(False, "Connection refused"), pytest.param(True, "no answer in time", marks=pytest.mark.slow)],
)
def test_a_server_that_does_not_answer_is_reported_within_15_seconds(
    listening: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        if not listening:
            silent.close()
        start = time.monotonic()

        assert f":{port}: it does not answer: {expected};" in error_of(f"http://127.0.0.1:{port}", monkeypatch)
    assert time.monotonic() - start < 15


def test_a_store_in_a_missing_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no folder" in error_of(f"sqlite:///{tmp_path}/typo/mlflow.db", monkeypatch)


def test_a_file_that_is_not_a_store_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"rubbish" * 1000)

    message = error_of("", monkeypatch)

    assert "file is not a database" in message
    assert "\n" not in message


WAITING = """
from stages.runs import tracking
print("ready", flush=True)
with tracking.locked("registry"): print("inside", flush=True)
"""


def test_one_process_at_a_time_is_inside_an_exclusive_block(root: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(root)}
    with tracking.locked("registry"):
        other = subprocess.Popen([sys.executable, "-c", WAITING], env=environment, stdout=subprocess.PIPE, bufsize=0)
        assert other.stdout
        assert other.stdout.readline() == b"ready\n"
        assert not select.select([other.stdout], [], [], 0.5)[0]
    printed, _ = other.communicate(timeout=60)

    assert printed == b"inside\n"
