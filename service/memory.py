"""Return memory that a process doesn't need any more to the system.

A worker needs far more memory while it starts, loads a model or checks a password than while it answers. By default
glibc and the kernel leave it with the process. These functions do nothing unless the system is Linux with glibc.
"""

import ctypes
import gc
import sys
from pathlib import Path
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MADV_DONTNEED: Final = 4  # bits/mman-linux.h
_LARGE_BYTES: Final = 1024 * 1024


def return_large_blocks() -> None:
    """Make glibc return each block of 1 MiB or more to the system when it is freed.

    By default, after the first such block is freed, glibc takes them from the heap. There, later and smaller blocks
    keep them from being returned: for a password's hash 46 MiB in each thread.
    """
    for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        _call("mallopt", parameter, _LARGE_BYTES)


def return_free_memory() -> None:
    """Return the heap's free pages to the system: 100 MB after loading a forest of 440,000 nodes."""
    _call("malloc_trim", 0)


def return_startup_memory() -> None:
    """Return memory that only startup needed: the heap's free pages, and the code of libraries.

    Of 65 MB of libraries' code, 40 MB don't run again. The code stays in the system's page cache, and the kernel maps
    a page again when it runs. Only pages of code are returned, because a process can't have changed them.

    Objects that exist now are excluded from garbage collection, because its pauses would delay requests.
    """
    gc.freeze()
    gc.enable()
    return_free_memory()
    if sys.platform == "linux":
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            addresses, access, *_, name = line.split()
            if access == "r-xp" and name.startswith("/"):  # a file's code
                start, end = (int(address, 16) for address in addresses.split("-"))
                _call("madvise", ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _call(name: str, *arguments: object) -> None:
    """Call a function of glibc, if this system has it."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)
