"""Heads that are too large, no HTTP, or read differently by others on the way."""

import asyncio

import pytest

from service.http import connections
from tests.service.http.clients import HEAD, on_connection, problem, serving


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Content-Length: 0", 400),
        ("Host: a\r\nhost: b\r\nContent-Length: 0", 400),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked", 400),
        ("Host: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 400),
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


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_wish_for_another_protocol_may_come_in_pieces(cut: int) -> None:
    first = HEAD.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n") + bytes(30)
    place = first.index(b"Upgrade:") + cut

    async def ask() -> bytes:
        async with serving() as (reader, writer, _), asyncio.timeout(5):
            writer.write(first[:place])
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(first[place:] + HEAD + bytes(30))
            return b"".join([await reader.readuntil(b"\r\n\r\n30") for _ in range(2)])

    assert asyncio.run(ask()).count(b"HTTP/1.1 200 OK") == 2


def test_a_wish_that_the_server_does_not_read_is_told_and_never_swallows_a_request() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        wish = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: uPGRaDE\r\nuPGRaDE: h2c\r\n\r\n"
        writer.write(wish + HEAD + bytes(30))
        return await reader.read()

    answer = problem(on_connection(client))
    assert (answer["status"], "Upgrade" in answer["detail"]) == (400, True)


@pytest.mark.parametrize("body", [b"a\r\nUpgrade: b\r\n".ljust(29) + b"\n", bytes(26) + b"\nUpg", b"u" * 30])
def test_a_body_in_bytes_of_one_is_whole(body: bytes) -> None:
    async def ask() -> bytes:
        async with serving() as (reader, writer, _), asyncio.timeout(5):
            for at in range(30):
                writer.write(HEAD * (at == 0) + body[at : at + 1])
                await writer.drain()
                await asyncio.sleep(0.001)
            return await reader.readuntil(b"\r\n\r\n30")

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 200")


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


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE"])
def test_a_wish_for_another_protocol_costs_no_body(name: bytes) -> None:
    async def ask() -> bytes:
        async with serving() as (reader, writer, _):
            wish = b"\r\nConnection: Upgrade, HTTP2-Settings\r\n" + name + b": h2c\r\nHTTP2-Settings: AAMA\r\n\r\n"
            writer.write(HEAD.replace(b"\r\n\r\n", wish) + bytes(30))
            return await reader.readuntil(b"30")

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 200")


def test_requests_in_one_packet_are_all_answered_though_the_last_wishes_for_another_protocol() -> None:
    wish = b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    requests = [HEAD + b"Upgrade: is a word like others", HEAD + bytes(30), HEAD.replace(b"\r\n\r\n", wish) + bytes(30)]

    async def ask() -> bytes:
        async with serving() as (reader, writer, _), asyncio.timeout(5):
            writer.write(b"".join(requests))
            return b"".join([await reader.readuntil(b"\r\n\r\n30") for _ in requests])

    assert asyncio.run(ask()).count(b"HTTP/1.1 200 OK") == 3


def test_a_body_that_speaks_of_upgrades_is_left_alone() -> None:
    async def ask() -> bytes:
        async with serving() as (reader, writer, _):
            writer.write(HEAD)
            writer.write(b"\r\nUpgrade: is a word like others"[:30])
            return await reader.readuntil(b"30")

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 200")
