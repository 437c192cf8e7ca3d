"""Slow, silent and garbled clients, on a real socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from service.http import connections
from service.http.connections import Connection

HEAD = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 30\r\n\r\n"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(connections, "BODY_BYTES", 5)
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.2)


async def echo_length(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of the body."""
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message["body"])
        if not message["more_body"]:
            break
    body = str(length).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def pour(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without end, as fast as the client reads."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    with contextlib.suppress(OSError):
        for _ in range(1000):
            await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})


@contextlib.asynccontextmanager
async def serving(
    app: Any = echo_length,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, ServerState]]:
    """Give a client's connection to `app`, and what the server knows."""
    config = uvicorn.Config(app, http=Connection, log_config=None, access_log=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer, state
        finally:
            writer.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  # uvicorn gives no event to wait for
        await asyncio.sleep(0.01)


def on_connection(
    client: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]], app: Any = echo_length
) -> bytes:
    async def run() -> bytes:
        async with serving(app) as (reader, writer, _), asyncio.timeout(5):
            return await client(reader, writer)

    return asyncio.run(run())


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    found: dict[str, Any] = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {found['status']} {found['title']}".encode())
    return found


def test_a_silent_connection_is_closed_without_a_word() -> None:
    assert on_connection(lambda reader, _: reader.read()) == b""


@pytest.mark.parametrize("sent", [b"P", HEAD[:-2], HEAD, HEAD + b"1234"])
def test_a_request_that_does_not_arrive_is_told_408(sent: bytes) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(sent)
        return await reader.read()

    assert problem(on_connection(client))["status"] == 408


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Content-Length: 0", 400),
        ("Host: a\r\nhost: b\r\nContent-Length: 0", 400),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked", 501),
        ("Host: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501),
    ],
)
def test_a_head_that_others_could_read_differently_is_refused(headers: str, status: int) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(f"POST / HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        return await reader.read()

    assert problem(on_connection(client))["status"] == status


def test_http_1_0_needs_no_host() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
        return await reader.read()

    assert on_connection(client).startswith(b"HTTP/1.1 200")


def test_an_upgrade_that_comes_in_pieces_loses_no_body_in_silence() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: Upgrade\r\nUpgr")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"ade: h2c\r\n\r\nabc")
        return await reader.read()

    answer = problem(on_connection(client))
    assert (answer["status"], "Upgrade" in answer["detail"]) == (400, True)


def test_what_earlier_requests_brought_counts_for_no_later_one() -> None:
    """A head may have 64 KiB; on a connection that is kept it is each request's own."""
    body = bytes(1000)
    request = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for _ in range(connections.MAX_HEAD_BYTES // len(body) + 1):
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n1000")
        writer.write(request[:10])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(request[10:])
        return await reader.readuntil(b"\r\n\r\n1000")

    assert on_connection(client).startswith(b"HTTP/1.1 200")


def test_at_the_limit_of_connections_idle_ones_go_before_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        address = writer.get_extra_info("peername")
        writer.write(HEAD + b"1234567890")
        await asyncio.sleep(0.05)
        idle, idle_writer = await asyncio.open_connection(*address)
        _, last_writer = await asyncio.open_connection(*address)
        gone = await idle.read()
        writer.write(b"12345678901234567890")
        answer = await reader.readuntil(b"30")
        idle_writer.close()
        last_writer.close()
        return gone + answer

    assert on_connection(client).startswith(b"HTTP/1.1 200")


async def drip(writer: asyncio.StreamWriter, content: bytes, pause: float) -> None:
    with contextlib.suppress(ConnectionError):
        for byte in content:
            writer.write(bytes([byte]))
            await asyncio.sleep(pause)


def test_a_head_that_comes_byte_by_byte_is_told_408() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        dripping = asyncio.create_task(drip(writer, HEAD, 0.02))
        answer = await reader.read()
        await dripping
        return answer

    assert problem(on_connection(client))["status"] == 408


def test_a_body_that_keeps_coming_may_take_its_time() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD)
        await drip(writer, bytes(30), 0.02)
        return await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)

    assert on_connection(client).endswith(b"30")


def test_a_client_that_does_not_read_is_dropped() -> None:
    async def run() -> None:
        async with serving(pour) as (_, writer, state), asyncio.timeout(5):
            writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            await until(lambda: state.connections)
            await until(lambda: not state.connections)

    asyncio.run(run())


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x00\x00", b"GET\r\n\r\n", b"NONSENSE / HTTP/9.9\r\n\r\n", b"CONNECT host:443 HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_http_is_told_400_as_a_problem(sent: bytes) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(sent)
        return await reader.read()

    assert problem(on_connection(client))["status"] == 400


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 300_000,
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 40_000 + b"\r\n",
    ],
    ids=["path", "header", "header without an end", "many headers"],
)
def test_a_head_beyond_the_limit_is_told_431(head: bytes) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(head)
        return await reader.readline()

    assert on_connection(client).startswith(b"HTTP/1.1 431 ")


def test_at_a_stop_a_request_already_on_its_way_is_answered() -> None:
    async def run() -> bytes:
        async with serving() as (reader, writer, state), asyncio.timeout(5):
            await until(lambda: state.connections)
            for connection in list(state.connections):
                connection.shutdown()
            writer.write(HEAD + bytes(30))
            return await reader.read()

    answer = asyncio.run(run())

    assert b"connection: close" in answer
    assert answer.endswith(b"30")


def test_beyond_the_file_limit_a_new_connection_takes_the_place_of_the_oldest_silent_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(connections, "WINDOW_SECONDS", 30.0)

    async def run() -> tuple[bytes, bytes]:
        async with serving() as (oldest, writer, _), asyncio.timeout(5):
            address = writer.get_extra_info("peername")
            others = [await asyncio.open_connection(*address) for _ in range(2)]
            closed = await oldest.read()
            reader, newest = others[-1]
            newest.write(HEAD + bytes(30))
            answer = await reader.readuntil(b"\r\n\r\n")
            for _, each in others:
                each.close()
            return closed, answer

    closed, answer = asyncio.run(run())

    assert closed == b""
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade"])
def test_a_wish_for_another_protocol_costs_no_body(name: bytes) -> None:
    async def ask() -> bytes:
        async with serving() as (reader, writer, _):
            wish = b"\r\nConnection: Upgrade, HTTP2-Settings\r\n" + name + b": h2c\r\nHTTP2-Settings: AAMA\r\n\r\n"
            writer.write(HEAD.replace(b"\r\n\r\n", wish) + bytes(30))
            return await reader.readuntil(b"30")

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 200")


def test_a_body_that_speaks_of_upgrades_is_left_alone() -> None:
    async def ask() -> bytes:
        async with serving() as (reader, writer, _):
            writer.write(HEAD)
            writer.write(b"\r\nUpgrade: is a word like others"[:30])
            return await reader.readuntil(b"30")

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("before", [1, 2, 3])
def test_garbage_behind_whole_requests_is_refused_and_fails_nothing(
    caplog: pytest.LogCaptureFixture, before: int
) -> None:
    async def ask() -> bytes:
        async with serving() as (reader, writer, state):
            writer.write((HEAD + bytes(30)) * before + b"\0garbage\r\n\r\n")
            answer = await reader.read()
            await until(lambda: not state.tasks)
            return answer

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the service's own, which is strict about it
        assert runner.run(ask()).startswith(b"HTTP/1.1 400")
    assert [record.levelname for record in caplog.records if record.levelname == "ERROR"] == []
