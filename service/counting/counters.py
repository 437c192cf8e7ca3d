"""Counters of several worker processes that add up, and outlive the worker that counted.

Each worker owns memory-mapped files in a common directory: `0.counters`, and one such as
`0.VERSION.counters` for each version of the model. A file is a row of blocks; a block
begins with its layout as JSON (which metrics, which labels) and goes on with one float64
for each number, so that any worker can read and add up all files. The pages belong to the
kernel: a worker killed between two instructions loses nothing, and the next one takes its
files over and counts on. The owner holds a lock on its first file that the kernel drops at
its death; that is how a gauge of a dead worker is told from a living one's.

The versions served last are kept (`service.counting.version_list`). Those before leave for all
workers at once, so that no sum ever goes down.
"""

import contextlib
import fcntl
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from service.counting.families import HEADER, IN_USE_AT, MAGIC, Family, Layout, headers
from service.counting.version_list import VersionList

_ENDING = ".counters"


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The numbers of some families in the worker's own file.

    Adding is a read and a write: add from one thread only.
    """

    families: tuple[Family, ...]
    array: npt.NDArray[np.float64]
    """All numbers, family after family, series after series."""
    cells: "memoryview[float]"
    """The same numbers as Python sees them quickest, one at a time."""
    in_use: "memoryview[float]"
    starts: dict[tuple[str, tuple[str, ...]], int] = field(repr=False)

    def index(self, name: str, *labels: str) -> int:
        """Place of the series' first number. Raises KeyError if there is none."""
        return self.starts[name, labels]

    def add(self, index: int, amount: float = 1.0) -> None:
        """Add to one number."""
        self.cells[index] += amount

    def add_each(self, indices: npt.NDArray[np.intp]) -> None:
        """Add 1 for each of `indices`, of any shape, as often as it comes."""
        np.add.at(self.array, indices, 1.0)

    def set(self, index: int, value: float) -> None:
        """Set a gauge."""
        self.cells[index] = value

    def observe(self, index: int, bounds: tuple[float, ...], value: float) -> None:
        """Count `value` in the histogram with `bounds` that begins at `index`."""
        self.cells[index + bisect_left(bounds, value)] += 1.0
        self.cells[index + len(bounds) + 1] += value

    def retire(self) -> None:
        """Show this block's gauges no longer; its counters stay."""
        self.in_use[0] = 0.0


class Counters:
    """The files of this worker: of the first number in the directory that no living worker owns.

    Parameters
    ----------
    directory
        Where the workers' files stand; made if it is missing.

    Raises
    ------
    OSError
        If the directory cannot be written or the disk is full. Later nothing is raised:
        space is claimed before it is mapped, so that a full disk is met here and not as a
        signal that ends the process.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._versions = VersionList(directory)
        self._making = Lock()
        """Blocks are made by the event loop's thread and by the one that loads an artifact."""
        self._first, self._lock = next(
            (path, lock) for number in count() if (lock := _claim(path := directory / f"{number}{_ENDING}")) is not None
        )
        for path in (self._first, *files(directory)[self._first].values()):
            _File(path).retire()

    def block(self, *families: Family) -> Block:
        """Give the block of `families`; one with the same layout, this process's or a dead one's, is counted on."""
        with self._making:
            return _File(self._first).block(families)

    def block_of(self, version: str, *families: Family) -> Block | None:
        """Give the block of `families` that counts for one version; None if that version is none of the last."""
        if version not in self._versions.last():
            return None
        with self._making:
            return _File(self._first.with_suffix(f".{version}{_ENDING}")).block(families)

    def begin(self, version: str) -> None:
        """Count `version` among the last from now on; the one served longest ago leaves."""
        last = self._versions.put_last(version)
        for of_versions in files(self._first.parent).values():
            for each, path in of_versions.items():
                if each not in last:
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the files up; blocks must not be used any more."""
        os.close(self._lock)


class _File:
    """One file, open for as long as a block is looked up or made."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def block(self, families: tuple[Family, ...]) -> Block:
        layout = Layout.of(families)
        with self._opened() as file:
            found = {known.text: start for start, known, _ in headers(_content(file))}
            start = found.get(layout.text)
            opened = _open(file, _append(file, layout) if start is None else start, layout)
        for family in families:
            if family.kind == "gauge":
                first = opened.starts[family.name, family.series[0]] if family.series else 0
                opened.array[first : first + family.size] = 0.0
        opened.in_use[0] = 1.0
        return opened

    def retire(self) -> None:
        """Show none of the gauges that a dead worker left."""
        with self._opened() as file:
            for start, layout, _ in headers(_content(file)):
                _open(file, start, layout).retire()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield file
        finally:
            os.close(file)


def _append(file: int, layout: Layout) -> int:
    """Add an empty block, after the last whole one; give where it starts."""
    start = max((start + known.length for start, known, _ in headers(_content(file))), default=0)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, start, layout.length)
    else:  # macOS: written, so that the space is there all the same
        os.pwrite(file, bytes(layout.length), start)
    mapped = mmap.mmap(file, layout.length, offset=start)
    mapped[:] = bytes(layout.length)
    mapped[HEADER.size : HEADER.size + len(layout.text)] = layout.text.encode()
    # The magic comes last: whoever reads meanwhile, or after a kill, sees no half-made block.
    mapped[8 : HEADER.size] = HEADER.pack(MAGIC, layout.length, len(layout.text), layout.size, 0.0)[8:]
    mapped[:8] = MAGIC
    return start


def _open(file: int, start: int, layout: Layout) -> Block:
    whole = memoryview(mmap.mmap(file, layout.length, offset=start))
    cells = whole[layout.values_at : layout.values_at + 8 * layout.size].cast("d")
    in_use = whole[IN_USE_AT : HEADER.size].cast("d")
    starts = {(family.name, labels): at for family, labels, at in layout.places()}
    return Block(layout.families, np.asarray(cells), cells, in_use, starts)


def _content(file: int) -> "mmap.mmap | None":
    size = os.fstat(file).st_size
    return mmap.mmap(file, size, access=mmap.ACCESS_READ) if size else None


def files(directory: Path) -> dict[Path, dict[str, Path]]:
    """Give each worker's first file, in order, and its files by version."""
    found: dict[Path, dict[str, Path]] = {}
    for path in sorted(directory.glob(f"*{_ENDING}"), key=lambda path: path.name.count(".")):
        number, *version, _ = path.name.split(".")
        of_versions = found.setdefault(directory / f"{number}{_ENDING}", {})
        of_versions.update((each, path) for each in version)
    return {first: of_versions for first, of_versions in found.items() if first.exists()}


def is_owned(path: Path) -> bool:
    """Tell whether a living worker counts in a first file and in those beside it."""
    with path.open("rb") as file:
        # Held for an instant at most; a worker starting just then takes the next free number.
        return not _locked(file.fileno())


def numbers(path: Path) -> Iterator[tuple[Family, tuple[str, ...], npt.NDArray[np.float64], bool]]:
    """Give each series of a file: family, labels, numbers of shape (family.width,), whether it is in use."""
    content = path.read_bytes()
    for start, layout, in_use in headers(content):
        values = np.frombuffer(content, dtype=np.float64, count=layout.size, offset=start + layout.values_at)
        for family, labels, place in layout.places():
            yield family, labels, values[place : place + family.width], in_use


def _claim(path: Path) -> int | None:
    """Open and lock the file; None if a living worker has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if _locked(file):
        return file
    os.close(file)
    return None


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
