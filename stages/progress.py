"""Show how much of long work is done: by a bar of tqdm on a terminal, by a line every few seconds elsewhere."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from stages.entry import log

_EVERY: Final = 5.0
"""Seconds between two lines, if the output is no terminal."""
_EVERY_ON_TERMINAL: Final = 1.0
_FAST: Final = 10
"""Units a second; below, the rate is given as seconds a unit, with two digits up to so many."""
Item = TypeVar("Item")


class Progress:
    """How long work has taken and, if its steps are known, the share that is done, the rate and the time left."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._start = time.perf_counter()
        self._bar = _open_bar(what) if sys.stderr.isatty() else None
        self._lock = threading.RLock()
        self.begin(0, "")

    @property
    def seconds(self) -> float:
        """Seconds since the first step began."""
        return time.perf_counter() - self._begun

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.count / max(self.seconds, 1e-9)

    @property
    def is_counting(self) -> bool:
        """Whether steps are counted."""
        return bool(self._size)

    def begin(self, size: float, unit: str, poll: Callable[[], int] | None = None) -> None:
        """Begin steps of this size altogether, counted in this unit; 0 if it isn't known.

        `poll` returns how many are done, for steps that nobody adds.
        """
        with self._lock:
            self._begin(size, unit, poll)

    def _begin(self, size: float, unit: str, poll: Callable[[], int] | None) -> None:
        self._begun, self._size, self._done, self._unit = time.perf_counter(), size, 0.0, unit
        self.count, self._line, self._poll = 0, "", poll
        if self._bar is not None:
            self._bar.bar_format = "{desc}: {percentage:3.0f}% {bar}" if size else "{desc}: {elapsed}"
            self._bar.reset(size or None)
            if not size:
                self._bar.start_t -= self._begun - self._start
                self._bar.refresh()

    def add(self, size: float, count: int) -> None:
        """Add a step that is done: its size, and how many units it has."""
        self._done = min(self._done + size, self._size)
        self.count += count
        if self._bar is not None:
            self._bar.update(size)
        if not (self._done and self.count):
            return
        left = self.seconds * (self._size - self._done) / self._done
        fast = f"{self.rate:,.0f} {self._unit}s/s"
        rate = fast if self.rate >= _FAST else f"{_describe_step(1 / self.rate)} a {self._unit}"
        steps = f"{count_units(self.count, self._unit)}, {rate}, {describe_duration(left)} left"
        self._line = f"{self._done / self._size:.0%}, {steps}"
        if self._bar is not None:
            self._bar.bar_format = f"{{desc}}: {{percentage:3.0f}}% {{bar}} {steps}"

    def show(self) -> None:
        """Draw the bar again, or log a line."""
        with self._lock:
            new = self._poll() - self.count if self._poll else 0
            if new:
                self.add(new, new)
            if self._bar is not None:
                self._bar.refresh()
                return
            line = self._line or f"{time.perf_counter() - self._start:.0f} s"
        log(f"{self._what}: {line}")

    def end(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def _open_bar(what: str) -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415  # only a terminal needs it

    tqdm.monitor_interval = 0  # a thread that `showing` makes unnecessary
    return tqdm(desc=what, leave=False, dynamic_ncols=True, bar_format="{desc}: {elapsed}")


def _logging_above_bar() -> contextlib.AbstractContextManager[None]:
    from tqdm.contrib.logging import logging_redirect_tqdm  # type: ignore[import-untyped]  # noqa: PLC0415

    above: contextlib.AbstractContextManager[None] = logging_redirect_tqdm()
    return above


_active: list[Progress] = []
"""What is shown in this process, the innermost last."""


@contextlib.contextmanager
def showing(what: str, every: float = _EVERY) -> Iterator[Progress]:
    """Show the progress of the block; on a terminal, lines of the log are written above the bar."""
    on_terminal, over = sys.stderr.isatty(), threading.Event()
    progress = Progress(what)

    def report() -> None:
        while not over.wait(_EVERY_ON_TERMINAL if on_terminal else every):
            progress.show()

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    _active.append(progress)
    try:
        with _logging_above_bar() if on_terminal else contextlib.nullcontext():
            yield progress
    finally:
        _active.remove(progress)
        over.set()
        thread.join()
        progress.end()


@contextlib.contextmanager
def timed(what: str, every: float = _EVERY) -> Iterator[None]:
    """Log that `what` starts, show its progress, and log how many seconds it took."""
    start = time.perf_counter()
    log(f"{what} ...")
    with showing(what, every):
        yield
    log(f"{what}: done in {time.perf_counter() - start:.1f} s")


def track(items: Iterable[Item], size: int, unit: str, each: int = 1) -> Iterator[Item]:
    """Yield the items, and count each as `each` units of `size` in what is shown, if anything is."""
    progress = _active[-1] if _active else None
    if progress is None:
        yield from items
        return
    progress.begin(size, unit)
    for item in items:
        yield item
        progress.add(each, min(each, size - progress.count))
    progress.begin(0, "")


@contextlib.contextmanager
def watching(poll: Callable[[], int], size: int, unit: str) -> Iterator[None]:
    """Show in the block how many of `size` units are done, as `poll` says, unless other steps are counted."""
    progress = _active[-1] if _active else None
    if progress is None or progress.is_counting:
        yield
        return
    progress.begin(size, unit, poll)
    try:
        yield
    finally:
        progress.begin(0, "")


def count_units(count: int, unit: str) -> str:
    """Return a number with its unit, such as `1 row` and `2,000 rows`."""
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def _describe_step(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < _FAST else describe_duration(seconds)


def describe_duration(seconds: float) -> str:
    """Return seconds in the units that people use, such as `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
