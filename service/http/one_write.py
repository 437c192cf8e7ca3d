"""One system call for an answer's head and the first piece of its body; uvicorn makes two."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD: Final = b"HTTP/1.1 "
_CONTINUE: Final = b"HTTP/1.1 100 "


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol over a transport that joins two writes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin with a connection."""
        self._joining = _Joining(transport)
        super().connection_made(self._joining)  # type: ignore[arg-type]  # which has all that uvicorn calls

    def on_response_complete(self) -> None:
        """Write the head of an answer without a body."""
        self._joining.flush()
        super().on_response_complete()


class _Joining:
    """A transport that keeps an answer's head until the next write, or the answer's end."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, or keep a head."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and not data.startswith(_CONTINUE):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Write a head that is kept."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Write what is kept and close."""
        self.flush()
        self._transport.close()
