"""Slow, silent and garbled clients, and ambiguous requests."""

import contextlib
import json
import random
import socket
import time

import pytest

from tests.proxy.conftest import Proxy, read_all, statuses
from tests.service.processes import BODY, Service, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("proxy")]

CLOSE = "Connection: close\r\n"
PREDICT = json.dumps(BODY)


def request(body: bytes = b"x" * 30, headers: str = CLOSE) -> bytes:
    head = f"POST /token HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def drip(client: socket.socket, content: bytes, pause: float) -> None:
    with contextlib.suppress(OSError):
        for byte in content:
            client.sendall(bytes([byte]))
            time.sleep(pause)


@pytest.mark.parametrize("sent", [b"", b"P", request()[:-31]])
def test_a_silent_client_is_dropped(impatient: Proxy, sent: bytes) -> None:
    assert statuses(impatient.send(sent)) in ([], [408])


def test_headers_that_arrive_byte_by_byte_time_out(impatient: Proxy) -> None:
    with impatient.connect() as client:
        drip(client, b"GET /" + b"a" * 30, 0.04)
        assert statuses(read_all(client)) in ([], [408])


def test_a_body_that_stops_times_out_and_never_reaches_the_api(impatient: Proxy, service: Service) -> None:
    before = service.metric("http_requests_total")
    assert statuses(impatient.send(request()[:-1])) in ([], [408])
    assert service.metric("http_requests_total") <= before + 2, "the metrics' own requests"


def test_a_slow_body_that_keeps_arriving_is_accepted(impatient: Proxy) -> None:
    with impatient.connect() as client:
        client.sendall(request()[:-30])
        drip(client, b"x" * 30, 0.04)
        assert statuses(read_all(client)) == [415]


def test_a_client_that_does_not_read_is_dropped(impatient: Proxy, token: dict[str, str]) -> None:
    table = b"x0,x1\n" + b"0.25,0.5\n" * 1_000_000
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nAuthorization: {token['Authorization']}\r\nContent-Type: text/csv\r\n"
    with impatient.connect() as client:
        client.settimeout(60)
        client.sendall(head.encode() + f"Content-Length: {len(table)}\r\n\r\n".encode() + table)
        answer = client.recv(65536)
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        time.sleep(2)  # longer than the proxy's timeout

        assert len(answer + read_all(client)) < length


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
        ("NONSENSE\r\n\r\n", 400),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("\x16\x03\x01\0\0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nabcde", 400),
        (f"GET /{'a' * 17_000} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (f"GET / HTTP/1.1\r\nHost: a\r\nX: {'a' * 17_000}\r\n\r\n", 431),
        (f"GET / HTTP/1.1\r\nHost: a\r\n{'X: a' * 20_000}\r\n\r\n", 431),
    ],
)
def test_ambiguous_headers_are_refused(proxy: Proxy, sent: str, status: int) -> None:
    answer = proxy.send(sent.encode("latin-1") + request())

    assert statuses(answer) == [status]
    assert b"application/problem+json" in answer


def test_a_body_cannot_smuggle_a_second_request(proxy: Proxy, service: Service) -> None:
    hidden = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    chunks = b"0\r\n\r\n" + hidden
    bodies = [
        request(hidden),
        request(chunks, CLOSE + "Transfer-Encoding : chunked\r\n"),
        request(chunks, CLOSE + "Transfer-Encoding: xchunked\r\n"),
        request(chunks, CLOSE + "Transfer_Encoding: chunked\r\n"),
        request(chunks, CLOSE + "X: a\r\n Transfer-Encoding: chunked\r\n"),
    ]
    assert all(len(statuses(proxy.send(each))) == 1 for each in bodies)
    assert "smuggled" not in service.output()


def test_a_request_to_upgrade_keeps_its_body(proxy: Proxy) -> None:
    wish = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"

    assert statuses(proxy.send(request(headers=wish) + request())) == [415, 415]


def test_requests_in_one_packet_are_answered_in_order(proxy: Proxy) -> None:
    live = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"

    assert statuses(proxy.send(live + request(headers="") + live + request())) == [200, 415, 200, 415]


def test_http_1_0_needs_no_host(proxy: Proxy) -> None:
    assert statuses(proxy.send(b"GET /health/live HTTP/1.0\r\n\r\n")) == [200]


def test_randomly_garbled_requests_get_no_5xx_of_the_service(
    impatient: Proxy, service: Service, token: dict[str, str]
) -> None:
    drawn = random.Random(0)
    whole = [
        f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {token['Authorization']}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(PREDICT)}\r\n\r\n{PREDICT}".encode()
        for path in ("/predict", "/v2/models/flights/infer", "/token", "/admin/users", "/feedback")
        for kind in ("application/json", "text/csv")
    ]  # fmt: skip
    seen = set()
    for _ in range(300):
        content = bytearray(drawn.choice(whole) * drawn.randint(1, 3))
        for _ in range(drawn.randint(1, 6)):
            place = drawn.randrange(len(content))
            content[place : place + drawn.randint(0, 10)] = drawn.choice([b"", b"\r\n", b"\0", b"\xff", b"[", b"1e999"])
        with impatient.connect() as client, contextlib.suppress(TimeoutError):
            client.settimeout(0.05)
            client.sendall(content)
            seen |= set(statuses(client.recv(65536)))

    assert {each // 100 for each in seen} <= {2, 4, 5}
    assert {each for each in seen if each >= 500} <= {501, 505}, "what nginx doesn't support"
    assert service.client.post("/predict", json=BODY).status_code == 200
    wait_for(lambda: service.metric("http_requests_inprogress") <= 1, "the end of all requests")
    assert "Traceback" not in service.output()
