"""Clients that write bytes to a connection of ours and read what comes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from service.http.connections import Connection, State

HEAD = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 30\r\n\r\n"


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


@contextlib.asynccontextmanager
async def serving(
    app: Any = echo_length,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, State]]:
    """Give a client's connection to `app`, and what the server knows."""
    config = uvicorn.Config(app, http=Connection, log_config=None, access_log=False)
    config.load()
    state = State()
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
