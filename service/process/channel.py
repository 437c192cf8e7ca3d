"""Between a supervisor and its workers: what they say, one byte a word over a socket pair, and what both keep to."""

import contextlib
import socket
from typing import Final

BACKLOG: Final = 2048
"""Connections that may wait to be accepted."""
READY: Final = b"r"
"""From the worker, once: it answers requests."""
BEAT: Final = b"b"
"""From the worker, every second: its event loop turns."""
FAILED: Final = b"!"
"""From the worker, before it ends because it cannot start: the rest is the reason as text."""
STOP: Final = b"s"
"""To the worker: answer what is under way, then end. The end of the supervisor says the same."""
HURRY: Final = b"h"
"""To the worker: end without waiting for answers under way."""


class StartError(Exception):
    """The service cannot start: one line that says why and what to do."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Make both ends; neither ever blocks, so that one side that hangs does not hold up the other."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)  # noqa: FBT003  # the socket module's own signature
    return ends


def tell(end: socket.socket, words: bytes) -> None:
    """Say `words`; whoever is dead or hangs hears nothing."""
    with contextlib.suppress(OSError):
        end.send(words)


def hear(end: socket.socket) -> bytes | None:
    """Give what was said; None if nothing was, nothing but ``b""`` if the other side is gone."""
    try:
        return end.recv(4096)
    except BlockingIOError:
        return None
    except OSError:
        return b""
