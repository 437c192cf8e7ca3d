"""Slow, silent and garbled clients, on a real socket."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from service.http import connections
from tests.service.http.clients import HEAD, on_connection, problem, serving


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(connections, "BODY_BYTES", 5)
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.2)


async def pour(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without end, as fast as the client reads."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    with contextlib.suppress(OSError):
        for _ in range(1000):
            await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  # uvicorn gives no event to wait for
        await asyncio.sleep(0.01)


def test_a_silent_connection_is_closed_without_a_word() -> None:
    assert on_connection(lambda reader, _: reader.read()) == b""


@pytest.mark.parametrize("sent", [b"P", HEAD[:-2], HEAD, HEAD + b"1234"])
def test_a_request_that_does_not_arrive_is_told_408(sent: bytes) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(sent)
        return await reader.read()

    assert problem(on_connection(client))["status"] == 408


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


def test_a_connection_that_is_accepted_during_a_stop_is_closed_as_the_others_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "WINDOW_SECONDS", 60)

    async def run() -> bytes:
        async with serving() as (_, writer, state), asyncio.timeout(5):
            state.stopping = True
            late, late_writer = await asyncio.open_connection(*writer.get_extra_info("peername"))
            late_writer.write(HEAD + b"123456789012345678901234567890")
            answer = await late.read()
            late_writer.close()
            return answer

    assert asyncio.run(run()).endswith(b"\r\n\r\n30")


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
