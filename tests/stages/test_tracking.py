"""Which store is used, which run is found, and what is said when a store does not answer."""

import os
import re
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

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, and leave none of the settings that `connect` makes."""
    monkeypatch.chdir(tmp_path)
    for name in [*tracking._WORK, "MLFLOW_TRACKING_URI", "DVC_ROOT", tracking.EXPERIMENT]:
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

    assert tracking.store() == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.parametrize("uri", ["sqlite:////srv/mlflow.db", "http://mlflow:5000", "postgresql://db/mlflow"])
def test_a_store_that_is_named_is_taken_as_it_is(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    assert tracking.store() == uri


def test_the_beginning_of_an_empty_store_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stages")
    first, second = tracking.connect("flights"), tracking.connect("flights")

    assert first == second
    assert [record.message[:31] for record in caplog.records] == ["there is no MLflow store at sql"]


def test_a_run_is_found_by_its_model_and_its_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = tracking.connect("flights")
    made = {}
    for name in ("", "tidy-ants"):
        monkeypatch.setenv(tracking.EXPERIMENT, name)
        tags = {tracking.MODEL_MD5: "a" * 32, tracking.EXPERIMENT: tracking.experiment_name()}
        with mlflow.start_run(experiment_id=experiment, tags=tags) as active:
            made[name] = active.info.run_id

    for name, run_id in made.items():
        monkeypatch.setenv(tracking.EXPERIMENT, name)
        found = tracking.find_run(experiment, "a" * 32)
        assert found
        assert found.info.run_id == run_id
    assert tracking.find_run(experiment, "b" * 32) is None


def test_tags_lead_back_to_the_rows_and_the_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    files.TRAIN.parent.mkdir(parents=True)
    files.TRAIN.write_bytes(b"rows")
    monkeypatch.setenv(tracking.EXPERIMENT, "tidy-ants")

    assert tracking.tags() == {
        "dvc.data_md5": files.md5(files.TRAIN),
        "git.revision": "-",
        "DVC_EXP_NAME": "tidy-ants",
    }


class Refusing(BaseHTTPRequestHandler):
    """Answers every question with the status that stands in the path."""

    def do_GET(self) -> None:
        status = int(re.findall(r"\d+", self.path)[0])
        body = b"Invalid Host header - possible DNS rebinding attack detected"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  # the name that http.server looks for

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def complaint(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError) as raised:
        tracking.connect("flights")
    return str(raised.value)


@pytest.mark.parametrize(
    ("status", "expected"), [(403, "Invalid Host header"), (404, "404"), (500, "it answers with the error 500;")]
)
def test_a_server_that_refuses_is_quoted(
    status: int, expected: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = complaint(f"{server}/{status}", monkeypatch)

    assert expected in said
    assert "MLFLOW_TRACKING_URI" in said


def test_a_server_that_is_down_is_told_within_15_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    start = time.monotonic()

    assert f":{port}: it does not answer: Connection refused;" in complaint(f"http://127.0.0.1:{port}", monkeypatch)
    assert time.monotonic() - start < 15


@pytest.mark.slow
def test_a_server_that_is_silent_is_told_within_15_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        start = time.monotonic()

        said = complaint(f"http://127.0.0.1:{listening.getsockname()[1]}", monkeypatch)
        assert "it does not answer: no answer in time;" in said
        assert time.monotonic() - start < 15


def test_a_store_in_a_folder_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no folder" in complaint(f"sqlite:///{tmp_path}/typo/mlflow.db", monkeypatch)


def test_a_file_that_is_no_store_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"rubbish" * 1000)

    assert "file is not a database" in complaint("", monkeypatch)


def test_a_password_in_the_address_is_not_shown(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = complaint(f"{server.replace('//', '//ada:s3cr3t@')}/500", monkeypatch)

    assert "s3cr3t" not in said
    assert "ada:***@127.0.0.1" in said


def test_one_process_of_a_repository_at_a_time_is_inside(tmp_path: Path) -> None:
    waiting = "from stages.runs import tracking\nwith tracking.alone('registry'): print('inside', flush=True)"
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    with tracking.alone("registry"):
        other = subprocess.Popen([sys.executable, "-c", waiting], env=environment, stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(3)
    printed, _ = other.communicate(timeout=60)

    assert printed == b"inside\n"


def test_settings_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    tracking.connect("flights")

    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"


@pytest.mark.slow
def test_two_clones_may_begin_one_store_at_the_same_moment(tmp_path: Path) -> None:
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/shared.db", "PYTHONPATH": str(ROOT)}
    begin = "from stages.runs import tracking\nprint(tracking.connect('flights'))"
    clones = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        clones.append(
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", begin],
                cwd=tmp_path / name,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    ended = [clone.communicate(timeout=120) for clone in clones]

    assert [clone.returncode for clone in clones] == [0, 0], ended
    assert {said for said, _ in ended} == {"1\n"}
