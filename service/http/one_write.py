"""One system call for an answer's head and the first piece of its body; uvicorn makes two."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LARGE: Final = 64 * 1024
"""Pieces of so many bytes are not copied to join them."""


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol over a transport that joins two writes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin with a connection."""
        super().connection_made(_Joining(transport))  # type: ignore[arg-type]  # which has all that uvicorn calls


class _Joining:
    """A transport that keeps what is written until the next write, or until the event loop's next turn."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""
        self._call_soon = asyncio.get_running_loop().call_soon
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, soon."""
        if self._held or len(data) >= _LARGE:
            held, self._held = self._held, b""
            self._transport.write(held + data if held else data)
        elif data:
            self._held = data
            self._call_soon(self._flush)

    def close(self) -> None:
        """Write what is left and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)
