"""Show how far the work is: one line that changes on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Final

from stages.entry import log

_EVERY: Final = 10.0
"""Seconds between two lines, if the output is no terminal."""


class Progress:
    """The rows that are done, the rate, and the time left by the share of bytes that are done."""

    def __init__(self, size: int) -> None:
        self._size = max(size, 1)
        self._start = self._shown = time.perf_counter()
        self._on_terminal = sys.stderr.isatty()
        self._done = 0
        self.rows = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / max(self.seconds, 1e-9)

    def add(self, size: int, rows: int) -> None:
        """Add a part that is done: its bytes and rows."""
        self._done += size
        self.rows += rows
        now = time.perf_counter()
        if self._on_terminal:
            print(f"\r{self._describe():<79}", end="", file=sys.stderr, flush=True)
        elif now - self._shown >= _EVERY:
            self._shown = now
            log(self._describe())

    def end(self) -> None:
        """Remove the line from the terminal."""
        if self._on_terminal:
            print(f"\r{'':<79}\r", end="", file=sys.stderr, flush=True)

    def _describe(self) -> str:
        share = self._done / self._size
        left = self.seconds * (1 - share) / share
        return f"{share:4.0%}, {count_rows(self.rows)}, {self.rate:,.0f} rows/s, {_duration(left)} left"


def count_rows(rows: int) -> str:
    """Return a number of rows as text, such as `1 row` and `2,000 rows`."""
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
