"""The processes of a running service: one that answers requests, or a supervisor and its workers."""

from typing import Final

BACKLOG: Final = 2048
"""How many connections can wait to be accepted."""


class StartError(Exception):
    """The service can't start. The message is one line that says why and what to do."""
