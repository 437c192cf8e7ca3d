"""A caller who goes in the midst of a body, or sends what is no HTTP, costs nothing but a line in the log."""

import random
import socket
from collections.abc import Iterator

import pytest

from tests.service.artifacts import written
from tests.service.processes import BODY, Service, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("broken off")]

PATHS = {
    "/predict": "application/json",
    "/v2/models/flights/infer": "application/json",
    "/token": "application/x-www-form-urlencoded",
    "/admin/users": "application/json",
    "/feedback": "application/json",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(written(tmp_path_factory.mktemp("served")), LOG_FORMAT="json") as made:
        yield made


def head(service: Service, path: str, kind: str, length: int) -> bytes:
    token = service.client.headers["Authorization"]
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Authorization: {token}", f"Content-Type: {kind}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def send(service: Service, content: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.settimeout(0.1)
        client.sendall(content)
        try:
            return client.recv(65536)
        except TimeoutError:
            return b""


@pytest.mark.parametrize("kind", ["text/csv", "application/x-ndjson", *PATHS])
def test_a_caller_who_goes_before_the_body_s_end_fails_nothing(service: Service, kind: str) -> None:
    path, media = (kind, PATHS[kind]) if kind in PATHS else ("/predict", kind)

    send(service, head(service, path, media, 1000) + b"{")
    wait_for(lambda: service.client.get("/health/live").status_code == 200, "an answer")
    wait_for(lambda: service.metric("http_requests_in_progress") == 1, "the end of the request")

    assert "Traceback" not in service.output()


def test_requests_garbled_at_random_are_no_failure_of_the_service(service: Service) -> None:
    drawn = random.Random(0)
    body = b'{"instances": [{"x0": 0.25, "x1": 0.5}]}'
    whole = [head(service, path, kind, len(body)) + body for path, kind in PATHS.items()]
    starts = set()
    for _ in range(500):
        content = bytearray(drawn.choice(whole) * drawn.randint(1, 3))
        for _ in range(drawn.randint(1, 6)):
            place = drawn.randrange(len(content))
            content[place : place + drawn.randint(0, 10)] = drawn.choice([b"", b"\r\n", b"\0", b"\xff", b"[", b"1e999"])
        starts.add(send(service, bytes(content))[9:10])

    assert starts <= {b"", b"1", b"2", b"4"}
    assert service.client.post("/predict", json=BODY).status_code == 200
    counted = [line for line in service.client.get("/metrics").text.splitlines() if 'status="5xx"' in line]
    assert counted
    assert [line for line in counted if not line.endswith(" 0.0")] == []
    assert "Traceback" not in service.output()
