"""Let Ctrl-C take effect only after steps that it must not cut in two."""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def finishing() -> Iterator[None]:
    """Finish the block before Ctrl-C takes effect, whatever that is; in the main thread only."""
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        signal.raise_signal(signal.SIGINT)
