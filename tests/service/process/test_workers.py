"""Workers and their supervisor: what a signal, a death and a bad start do."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.process import StartError, workers
from tests.service.artifacts import Root, onnx_bytes, written
from tests.service.conftest import Postgres
from tests.service.processes import BODY, START_SECONDS, HalfRequest, Load, Service, fails, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workers")]

PREDICTED = 'http_requests_total{handler="/predict",method="POST",status="2xx"}'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return written(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def service(root: Root) -> Iterator[Service]:
    """Return two workers; the last test of the module stops them."""
    with running(root, WORKERS="2") as made:
        yield made


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_both_workers_get_connections(service: Service) -> None:
    seen = set()
    for _ in range(40):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(b"GET /health/live HTTP/1.1\r\nHost: test\r\nX-Request-ID:\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        (line,) = [each for each in answer.lower().split(b"\r\n") if each.startswith(b"x-request-id")]
        seen.add(line.rsplit(b"-", 1)[0])

    assert len(seen) == 2


def test_metrics_are_the_same_whichever_worker_is_asked(service: Service) -> None:
    before = service.metric(PREDICTED)
    for _ in range(10):
        service.client.post("/predict", json=BODY).raise_for_status()

    asked = {service.metric(PREDICTED) for _ in range(10)}
    assert asked == {before + 10}


def test_a_killed_worker_costs_its_own_requests_only_and_is_replaced(service: Service) -> None:
    load, (victim, _) = Load(service), service.workers()
    before = service.metric(PREDICTED)
    load.start(clients=6)
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: service.reaches("service_worker_restarts_total", 1), "the restart", START_SECONDS)
    wait_for(lambda: service.reaches("service_workers ", 2), "the new worker", START_SECONDS)
    load.stop()

    assert len(load.failed) <= 6
    # What it had answered is counted, but for the requests that were between the two when it died.
    assert abs(service.metric(PREDICTED) - before - load.answered) <= 6


def test_a_stop_under_load_answers_every_accepted_request(service: Service) -> None:
    half, load = HalfRequest(service), Load(service)
    load.start()

    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    answer = half.finish()
    status = service.process.wait(20)
    load.stop()

    assert answer.startswith(b"HTTP/1.1 200")
    assert (status, load.failed) == (0, [])


def test_a_stop_while_connections_come_in_waits_for_none_of_them(root: Root) -> None:
    opened: deque[socket.socket] = deque()

    def connect(port: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                opened.append(socket.create_connection(("127.0.0.1", port), timeout=5))
                if len(opened) > 200:
                    opened.popleft().close()

    with running(root, WORKERS="2", SHUTDOWN_SECONDS="30") as service:
        threads = [threading.Thread(target=connect, args=(service.port,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(opened) > 50, "connections")
        service.process.send_signal(signal.SIGTERM)
        status = service.process.wait(15)
        for thread in threads:
            thread.join()
        for each in opened:
            each.close()

    assert status == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_worker_alone_stops_cleanly_at(root: Root, number: signal.Signals) -> None:
    with running(root) as service:
        half = HalfRequest(service)
        assert service.workers() == []
        service.process.send_signal(number)
        time.sleep(0.3)

        assert half.finish().startswith(b"HTTP/1.1 200")
        assert service.process.wait(20) == 0


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_second_signal_does_not_wait_for_requests_under_way(root: Root, count: str) -> None:
    with running(root, WORKERS=count) as service:
        half = HalfRequest(service)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert service.process.poll() is None

        assert service.stop() == 0
        half.close()


def test_workers_end_with_a_killed_supervisor(root: Root) -> None:
    with running(root, WORKERS="2") as service:
        left = service.workers()
        service.process.kill()

        wait_for(lambda: not any(map(is_running, left)), "the end of the workers")


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_bad_artifact_stops_the_start_with_one_line(tmp_path: Path, count: str) -> None:
    damaged = Root(tmp_path)
    damaged.write(onnx_bytes())
    damaged.replace(damaged.model, b"damaged")

    status, output = fails(damaged, WORKERS=count)

    assert status == 1
    assert output.startswith(f"error: {damaged.model}: its MD5 is ")
    assert output.count("\n") == 1


def test_an_address_in_use_stops_the_start_with_one_line(root: Root) -> None:
    with workers.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        status, output = fails(root, PORT=str(port))

    assert (status, output) == (
        1,
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use; set HOST or PORT\n",
    )


def test_two_services_do_not_share_an_address_unawares() -> None:
    with workers.listen("127.0.0.1", 0) as free:
        address = free.getsockname()
    with workers.bind(socket.AF_INET, address) as reserved:
        reserved.listen()
        with pytest.raises(StartError, match="in use"):
            workers.listen(*address)


def test_a_database_that_never_answers_delays_no_stop(root: Root, postgres: Postgres) -> None:
    with running(root, DATABASE_URL=postgres.empty()) as service, postgres.frozen():
        wait_for(lambda: service.client.get("/health/ready").json()["database"] == "down", "the outage")
        assert service.stop() == 0
