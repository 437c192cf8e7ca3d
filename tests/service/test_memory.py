"""What a worker needs for a moment only goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is given back")

# Each runs in a process of its own, for it changes how the process takes memory.
_SIZE = """
from pathlib import Path
from service import memory
def size(kind):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) // 1024
"""
_BLOCKS = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def take(megabytes):
    block = libc.malloc(ctypes.c_size_t(megabytes << 20))
    ctypes.memset(block, 1, megabytes << 20)
    return ctypes.c_void_p(block)
"""


def _run(program: str) -> list[int]:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", _SIZE + program], cwd=root, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_a_large_block_goes_back_though_a_small_one_was_taken_after_it() -> None:
    before, after = _run(
        f"""{_BLOCKS}
memory.return_large_blocks()
libc.free(take(20))  # from here on glibc would take such blocks from the heap
before = size("RssAnon")
large, small = take(19), libc.malloc(64)
libc.free(large)
print(before, size("RssAnon"))"""
    )

    assert after - before <= 1


def test_small_blocks_go_back_when_asked_for() -> None:
    taken, after = _run(
        f"""{_BLOCKS}
blocks = [libc.malloc(4096) for _ in range(10000)]
for block in blocks: ctypes.memset(block, 1, 4096)
last = libc.malloc(64)
taken = size("RssAnon")
for block in blocks: libc.free(ctypes.c_void_p(block))
memory.return_free_memory()
print(taken, size("RssAnon"))"""
    )

    assert taken - after > 30


def test_code_that_ran_once_is_given_up_and_runs_again_when_needed() -> None:
    before, after, answer = _run(
        """
import onnxruntime, numpy
before = size("RssFile")
memory.return_startup_memory()
print(before, size("RssFile"), int(numpy.ones(3).sum()))"""
    )

    assert after < before - 10
    assert answer == 3
