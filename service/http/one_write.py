"""Write a response's head and the first piece of its body in one system call; uvicorn uses two."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD: Final = b"HTTP/1.1 "
_CONTINUE: Final = b"HTTP/1.1 100 "


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol, over a transport that writes head and body together."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        """Start using a new connection."""
        self._joining = _Joining(transport)
        super().connection_made(self._joining)  # type: ignore[arg-type]  # it has every method that uvicorn calls

    def on_response_complete(self) -> None:
        """Write the head if no body followed it."""
        self._joining.flush()
        super().on_response_complete()


class _Joining:
    """A transport that delays a response's head until the next write or the end of the response."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Delay a head; write anything else, after the delayed head."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and not data.startswith(_CONTINUE):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Write the delayed head, if any."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Write the delayed head, if any, and close the connection."""
        self.flush()
        self._transport.close()
