"""Which versions of the model were served last, the same for all workers."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

KEPT: Final = 8
"""Versions whose counts are shown: each is some hundred series, and a service may take a new one every hour."""


class VersionList:
    """A file of lines in the directory of the counters: versions, the one that came last at the end."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "versions"

    def last(self) -> list[str]:
        """Give the versions that are kept; none if there is no file."""
        try:
            return self._path.read_text(encoding="ascii").split()[-KEPT:]
        except FileNotFoundError:
            return []

    def put_last(self, version: str) -> list[str]:
        """Write `version` at the end; give those that are kept."""
        with self._locked():
            before = self.last()
            if version in before[-1:]:
                return before
            now = [*(each for each in before if each != version), version][-KEPT:]
            beside = self._path.with_suffix(".beside")
            beside.write_text("\n".join(now), encoding="ascii")
            beside.replace(self._path)
            return now

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        file = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)
