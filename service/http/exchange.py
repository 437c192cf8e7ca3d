"""What every answer has around it: limits on what comes in, headers on what goes out."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from starlette.types import Message, Receive, Send

from service.http.problems import Problem

Headers = Mapping[bytes, bytes]

BODY_SECONDS: Final = 30.0
"""How long a body may take, or the next piece of a table."""
SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_CLOSE: Final = {"Connection": "close"}


class ClientGone(Exception):  # noqa: N818  # nobody's error
    """The caller closed the connection before the body was complete."""


def media_type(headers: Headers) -> bytes:
    """Give the body's media type in lower case, without parameters.

    Raises Problem (415) for a body that is compressed or not in UTF-8.
    """
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        headers_out = {"Accept-Encoding": "identity", **_CLOSE}
        raise Problem(415, "A compressed body is not taken; send it as it is", headers=headers_out)
    kind, _, parameters = headers.get(b"content-type", b"").lower().partition(b";")
    charset = parameters.partition(b"charset=")[2].partition(b";")[0].strip(b' "')
    if charset and charset not in (b"utf-8", b"utf8", b"us-ascii"):
        raise Problem(415, "The body must be in UTF-8", headers=_CLOSE)
    return kind.strip()


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """Read a whole body of at most `limit` bytes.

    Raises Problem: 413 as soon as it is known to be larger, 408 if it takes too long; ClientGone.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    message = _checked(await receive())
    if not message.get("more_body"):
        return _within(message.get("body", b""), limit)
    pieces = bytearray(message.get("body", b""))
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while message.get("more_body"):
                message = _checked(await receive())
                pieces += _within(message.get("body", b""), limit - len(pieces), limit)
    except TimeoutError:
        raise _too_slow() from None
    return bytes(pieces)


async def read_pieces(receive: Receive) -> AsyncIterator[bytes]:
    """Give a body piece by piece; the caller's connection is read no faster than this is asked.

    Raises Problem (408) if one piece takes too long; ClientGone.
    """
    more = True
    while more:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                message = _checked(await receive())
        except TimeoutError:
            raise _too_slow() from None
        more = message.get("more_body", False)
        yield message.get("body", b"")


def too_large(limit: int) -> Problem:
    """Refuse a body, of which no more is read."""
    return Problem(413, f"The body has more than {limit:,} bytes", headers=_CLOSE)


def _within(piece: bytes, room: int, limit: int | None = None) -> bytes:
    if len(piece) > room:
        raise too_large(room if limit is None else limit)
    return piece


def _too_slow() -> Problem:
    return Problem(408, f"The body took longer than {BODY_SECONDS:.0f} s", headers=_CLOSE)


def _checked(message: Message) -> Message:
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


async def respond(send: Send, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a whole answer with status 200."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
