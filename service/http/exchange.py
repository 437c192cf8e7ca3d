"""Read request bodies, with limits on size and time; send responses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.types import Message, Receive, Send

from service.http.problems import FieldError, Problem

Headers = Mapping[bytes, bytes]
Form = TypeVar("Form", bound=BaseModel)

BODY_SECONDS: Final = 30.0
"""Timeout for the rest of a body after its first piece, or for each piece of a table."""
SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
JSON: Final = "application/json"
_SMALL_BYTES: Final = 8192
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
        raise _too_large(limit)
    message = _check_connected(await receive())
    body: bytes | bytearray = message.get("body", b"")
    if message.get("more_body") and len(body) <= limit:
        body = bytearray(body)
        async with _time_limit():
            async for piece in read_pieces(receive):
                body += piece
                if len(body) > limit:
                    break
    if len(body) > limit:
        raise _too_large(limit)
    return bytes(body)


async def read_pieces(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body piece by piece. The connection is read no faster than you iterate.

    Raises Problem (408) if a piece takes longer than BODY_SECONDS, and ClientGone.
    """
    more = True
    while more:
        async with _time_limit():
            message = _check_connected(await receive())
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def read_small_body(request: Request, kind: str) -> bytes:
    """Read a body of the media type `kind`.

    Raises Problem: 415 for another media type, 413 for more than _SMALL_BYTES, 408 if it is too slow. FastAPI's own
    reader would run before authentication.
    """
    headers = dict(request.scope["headers"])
    if media_type(headers) != kind.encode():
        raise Problem(415, f"Content-Type must be {kind}")
    return await read_body(request.receive, headers, _SMALL_BYTES)


async def read_form(request: Request, form: type[Form]) -> Form:
    """Read a small JSON body as a `form`. Raises Problem as `read_small_body`, `decode` and `validate`."""
    return validate(form, decode(await read_small_body(request, JSON)))


def decode(text: bytes, name: str = "The body", kind: str = "JSON") -> Any:
    """Parse JSON. Raises Problem (400) with the name of the text and the expected kind."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"{name} is not {kind}: {error}", title=f"Not {kind}") from None


def validate(form: type[Form], document: Any) -> Form:
    """Return a document as a `form`. Raises Problem (422) with each wrong field, but not its value."""
    try:
        return form.model_validate(document)
    except ValidationError as error:
        found = {str(each["loc"][0]) if each["loc"] else None: each for each in error.errors(include_url=False)}
        errors = [
            FieldError(each["msg"], "nothing" if each["type"] == "missing" else "something else", field=field)
            for field, each in found.items()
        ]
        detail = "; ".join(f"{each.field or 'the body'}: {each.expected}" for each in errors)
        raise Problem(422, f"The request is not valid: {detail}", errors=errors) from None


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body has more than {limit:,} bytes", headers=_CLOSE)


@contextlib.asynccontextmanager
async def _time_limit() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            yield
    except TimeoutError:
        raise Problem(408, f"The body took longer than {BODY_SECONDS:.0f} s", headers=_CLOSE) from None


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
