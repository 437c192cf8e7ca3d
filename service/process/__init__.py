"""The processes of a running service: one that answers requests, or a supervisor and its workers."""

from typing import Final

BACKLOG: Final = 2048
"""Connections that may wait to be accepted."""


class StartError(Exception):
    """The service can't start: one line that says why and what to do."""
