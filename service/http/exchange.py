"""Read request bodies, with limits on size and time; send responses."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from starlette.types import Message, Receive, Send

from service.http.problems import Problem

Headers = Mapping[bytes, bytes]

BODY_SECONDS: Final = 30.0
"""Timeout for the rest of a body after its first piece, or for each piece of a table."""
SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_CLOSE: Final = {"Connection": "close"}


class ClientGone(Exception):  # noqa: N818  # not an error
    """The client closed the connection before the body was complete."""


def media_type(headers: Headers) -> bytes:
    """Return the body's media type in lower case, without parameters.

    Raises Problem (415) if the headers declare compression, or another charset than UTF-8.
    """
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Problem(
            415, "The body is compressed; send it uncompressed", headers={"Accept-Encoding": "identity", **_CLOSE}
        )
    kind, _, parameters = headers.get(b"content-type", b"").lower().partition(b";")
    charset = parameters.partition(b"charset=")[2].partition(b";")[0].strip(b' "')
    if charset and charset not in (b"utf-8", b"utf8", b"us-ascii"):
        raise Problem(415, "The body must be in UTF-8", headers=_CLOSE)
    return kind.strip()


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """Return the whole body, of at most `limit` bytes.

    Raises Problem (413) as soon as the body is known to be larger, Problem (408) if the rest takes longer than
    BODY_SECONDS after the first piece, and ClientGone.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    message = _check_connected(await receive())
    if not message.get("more_body"):
        return _check_size(message.get("body", b""), limit)
    pieces = bytearray(message.get("body", b""))
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while message.get("more_body"):
                message = _check_connected(await receive())
                pieces += _check_size(message.get("body", b""), limit - len(pieces), limit)
    except TimeoutError:
        raise _too_slow() from None
    return bytes(pieces)


async def read_pieces(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body piece by piece. The connection is read no faster than you iterate.

    Raises Problem (408) if a piece takes longer than BODY_SECONDS, and ClientGone.
    """
    more = True
    while more:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                message = _check_connected(await receive())
        except TimeoutError:
            raise _too_slow() from None
        more = message.get("more_body", False)
        yield message.get("body", b"")


def too_large(limit: int) -> Problem:
    """Return the problem for a body of more than `limit` bytes; the rest is not read."""
    return Problem(413, f"The body has more than {limit:,} bytes", headers=_CLOSE)


def _check_size(piece: bytes, left: int, limit: int | None = None) -> bytes:
    if len(piece) > left:
        raise too_large(left if limit is None else limit)
    return piece


def _too_slow() -> Problem:
    return Problem(408, f"The body took longer than {BODY_SECONDS:.0f} s", headers=_CLOSE)


def _check_connected(message: Message) -> Message:
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


async def wait_until_gone(receive: Receive) -> None:
    """Return when the client has disconnected; the body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond(send: Send, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a whole response with status 200."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
