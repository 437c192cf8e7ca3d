"""A caller who disconnects in the middle of a body fails nothing."""

import socket
from collections.abc import Iterator

import pytest

from tests.service.artifacts import written
from tests.service.processes import Service, running, wait_for

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
def test_a_caller_who_disconnects_before_the_end_of_the_body_fails_nothing(service: Service, kind: str) -> None:
    path, media = (kind, PATHS[kind]) if kind in PATHS else ("/predict", kind)

    send(service, head(service, path, media, 1000) + b"{")
    wait_for(lambda: service.client.get("/health/live").status_code == 200, "an answer")
    wait_for(lambda: service.metric("http_requests_inprogress") == 1, "the end of the request")

    assert "Traceback" not in service.output()
