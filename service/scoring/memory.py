"""Memory that a worker needs for a moment only, given back to the system.

A worker takes far more while it starts, loads a model or checks a password than while it
answers, and glibc and the kernel would leave it all of that. Elsewhere than on Linux with
glibc these functions do nothing.
"""

import contextlib
import ctypes
import gc
import sys
from pathlib import Path
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MADV_DONTNEED: Final = 4  # bits/mman-linux.h
_LARGE_BYTES: Final = 1024 * 1024


def keep_nothing_large() -> None:
    """Make glibc give each large block back once it is free.

    Left alone, it learns from the first block of some megabytes to take those from the heap, where what comes
    after keeps them: 46 MiB of a password's hash for each thread.
    """
    mallopt = _libc("mallopt")
    if mallopt is not None:
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, _LARGE_BYTES)


def give_back() -> None:
    """Give the heap's free pages back: 100 MB after loading a forest of 440,000 nodes."""
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)


def forget_start() -> None:
    """Give back as well what only the start needed: its garbage, and the code of libraries that ran once.

    Of 65 MB of mapped libraries 40 are not run again. Their pages stay in the system's cache, and what is run
    all the same is mapped again at that moment. Only code is given up, which nobody can have written to.
    What is alive now lives on; the collector, whose pauses callers would feel, looks at it no more.
    """
    gc.freeze()
    gc.enable()
    give_back()
    madvise = _libc("madvise")
    if madvise is None:
        return
    for start, end in _code():
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _code() -> list[tuple[int, int]]:
    """Where the code of mapped files begins and ends."""
    try:
        lines = [line.split() for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return []
    spans = [line[0].split("-") for line in lines if line[1] == "r-xp" and line[-1].startswith("/")]
    return [(int(start, 16), int(end, 16)) for start, end in spans]


def _libc(name: str) -> "ctypes._NamedFuncPointer | None":
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return getattr(ctypes.CDLL(None), name, None)
    return None
