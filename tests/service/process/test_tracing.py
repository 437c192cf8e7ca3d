"""Whether traces are made, and that no collector can hold the service up."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from service.http import tracing
from service.settings import SettingsError
from tests.conftest import ROOT
from tests.service.artifacts import Root, written
from tests.service.collector import Collector, collecting
from tests.service.processes import BODY, Service, environment, fails, free_port, running, wait_for

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return written(tmp_path)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def start(**variables: str) -> Any:
    with patch.dict(os.environ, variables):
        return tracing.configure()


def test_without_a_collector_nothing_is_traced() -> None:
    assert start().telemetry["tracing"] is False


@pytest.mark.parametrize("variables", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}, {ENDPOINT: ""}])
def test_what_switches_opentelemetry_off_switches_traces_off(variables: dict[str, str]) -> None:
    assert start(**{ENDPOINT: "http://127.0.0.1:4318", **variables}).telemetry["tracing"] is False


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({ENDPOINT: "collector:4318"}, f"{ENDPOINT} is 'collector:4318'; expected a URL"),
        (
            {ENDPOINT: "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'; only http/protobuf is supported",
        ),
    ],
)
def test_what_cannot_be_sent_to_is_refused_by_its_name(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        start(**variables)


def test_a_setting_that_the_sdk_refuses_is_reported_in_one_line() -> None:
    with pytest.raises(SettingsError, match="OpenTelemetry refuses a variable that begins with OTEL_"):
        start(**{ENDPOINT: "http://127.0.0.1:9", "OTEL_BSP_MAX_QUEUE_SIZE": "-1"})


@pytest.mark.slow
def test_a_service_without_traces_imports_no_part_of_opentelemetry_that_makes_any(root: Root) -> None:
    # Its interface alone comes with FastAPI.
    code = (
        "import os, sys; from service.app import create_app; from service.settings import Settings; "
        "create_app(Settings.load()); "
        "wanted = {'opentelemetry.sdk', 'opentelemetry.exporter', 'requests'}; "
        "print(sorted(wanted & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(root, 0), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_without_the_packages_explains_in_one_line_how_to_get_them(
    root: Root, tmp_path: Path, workers: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['opentelemetry.sdk'] = None")
    more = {ENDPOINT: "http://127.0.0.1:4318", "PYTHONPATH": str(tmp_path), "WORKERS": workers}
    status, output = fails(root, **more)
    assert status == 1
    assert output.startswith(f"error: {ENDPOINT} is set, but OpenTelemetry's SDK is not installed; install it with")
    assert output.count("\n") == 1


@pytest.mark.slow
def test_spans_that_wait_at_the_end_are_sent_as_the_file_env_says(root: Root, collector: Collector) -> None:
    file = root.folder / "settings.env"
    file.write_text(f"{ENDPOINT}={collector.url}\nOTEL_BSP_SCHEDULE_DELAY=60000\nOTEL_SERVICE_NAME=scores\n")
    with running(root, ENV_FILE=str(file)) as service:
        assert service.client.post("/predict", json=BODY).status_code == 200
        assert service.stop() == 0
    assert collector.one("POST /predict", 0.0).resource["service.name"] == "scores"


@pytest.fixture(params=["refuses", "hangs", "fails"])
def broken(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of a collector that accepts nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if request.param == "refuses":
            port = free_port()
        if request.param == "fails":
            port = request.getfixturevalue("failing").port
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def failing() -> Iterator[Collector]:
    with collecting(status=503) as running:
        yield running


@pytest.mark.slow
def test_a_broken_collector_delays_neither_requests_nor_the_stop(root: Root, broken: str) -> None:
    few = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16", "OTEL_BSP_SCHEDULE_DELAY": "10"}
    with running(root, **{ENDPOINT: broken, **few}) as service:
        slowest = max(_seconds(service) for _ in range(100))
        began = time.monotonic()
        status = service.stop()
        assert (status, time.monotonic() - began < 6.0, slowest < 1.0) == (0, True, True)
        assert service.output().count("Queue full") <= 1


@pytest.mark.slow
def test_every_worker_sends_its_spans_and_so_does_the_one_after_a_killed_one(root: Root, collector: Collector) -> None:
    with running(root, **{ENDPOINT: collector.url, "OTEL_BSP_SCHEDULE_DELAY": "10", "WORKERS": "2"}) as service:
        first = set(service.workers())
        wait_for(lambda: _predicts(service) and _senders(collector) == first, "spans of both")
        os.kill(min(first), signal.SIGKILL)
        wait_for(lambda: len(set(service.workers()) - first) == 1, "the restart", 20.0)
        (new,) = set(service.workers()) - first
        wait_for(lambda: _predicts(service) and new in _senders(collector), "spans of the new one", 20.0)


def _seconds(service: Service) -> float:
    began = time.monotonic()
    assert service.client.post("/predict", json=BODY).status_code == 200
    return time.monotonic() - began


def _predicts(service: Service) -> bool:
    return service.reaches("service_workers ", 2.0) and service.client.post("/predict", json=BODY).status_code == 200


def _senders(collector: Collector) -> set[int]:
    """Return the processes that sent a prediction."""
    return {span.resource["process.pid"] for span in collector.server_spans() if span.name == "POST /predict"}


@pytest.mark.parametrize("line", [f"{ENDPOINT}=http://127.0.0.1:4318", f"#{ENDPOINT}=http://127.0.0.1:4318"])
def test_make_serve_installs_the_packages_if_the_file_env_asks_for_traces(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(line, encoding="utf-8")
    for name in ("requirements", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}

    done = subprocess.run(
        ["make", "--dry-run", "--file", str(ROOT / "Makefile"), "serve"],
        check=False, cwd=tmp_path, env=variables, capture_output=True, text=True,
    )  # fmt: skip

    assert ("requirements/tracing.txt" in done.stdout) == (not line.startswith("#")), done.stderr
