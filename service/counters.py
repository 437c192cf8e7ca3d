"""Counters of several worker processes that add up, and outlive the worker that counted.

Each worker owns one memory-mapped file in a common directory. A file is a row of blocks;
a block begins with its layout as JSON (which metrics, which labels) and goes on with one
float64 for each number, so that any worker can read and add up all files. The pages
belong to the kernel: a worker killed between two instructions loses nothing, and the next
one takes its file over and counts on. The owner holds a lock on its file that the kernel
drops at its death; that is how a gauge of a dead worker is told from a living one's.
"""

import fcntl
import json
import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

_MAGIC = b"COUNTER1"
_HEADER = struct.Struct("<8sQQQd")  # magic, bytes of the block, of the layout, numbers, 1.0 if in use
_IN_USE_AT = 32


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all its label values; the values are known beforehand, so that memory is bounded."""

    name: str
    """As Prometheus shows it, a counter's without the ending ``_total``."""
    help: str
    kind: Literal["counter", "gauge", "histogram"] = "counter"
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ((),)
    """Label values, one tuple for each series."""
    bounds: tuple[float, ...] = ()
    """Histogram: upper bounds of the buckets, rising, without infinity."""
    merge: Literal["sum", "max"] = "sum"
    """Gauge: what several workers' values make together."""

    @property
    def width(self) -> int:
        """Numbers per series: 1; a histogram has its buckets, the one up to infinity, and the sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1

    @property
    def size(self) -> int:
        """Numbers of all series."""
        return self.width * len(self.series)


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
    """The file of this worker: the first in the directory that no living worker owns.

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
        self._file = next(fd for number in count() if (fd := _claim(directory / f"{number}.counters")) is not None)
        self._blocks: dict[str, int] = {}
        self._end = 0
        for start, layout, _ in _headers(self._map(0, os.fstat(self._file).st_size)):
            self._blocks[layout.text] = start
            self._end = start + layout.length
            self._open(start, layout).retire()

    def block(self, *families: Family) -> Block:
        """Give the block of `families`; one with the same layout, this process's or a dead one's, is counted on."""
        layout = _Layout.of(families)
        if layout.text not in self._blocks:
            self._append(layout)
        opened = self._open(self._blocks[layout.text], layout)
        for family in families:
            if family.kind == "gauge":
                start = opened.starts[family.name, family.series[0]] if family.series else 0
                opened.array[start : start + family.size] = 0.0
        opened.in_use[0] = 1.0
        return opened

    def close(self) -> None:
        """Give the file up; blocks must not be used any more."""
        fcntl.flock(self._file, fcntl.LOCK_UN)  # closing alone frees nothing: each mapping holds the file open
        os.close(self._file)

    def _append(self, layout: "_Layout") -> None:
        start, end = self._end, self._end + layout.length
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, start, layout.length)
        else:  # macOS: written, so that the space is there all the same
            os.pwrite(self._file, bytes(layout.length), start)
        mapped = self._map(start, layout.length)
        if mapped is None:
            raise AssertionError("a block has a header")
        mapped[:] = bytes(layout.length)
        mapped[_HEADER.size : _HEADER.size + len(layout.text)] = layout.text.encode()
        # The magic comes last: whoever reads meanwhile, or after a kill, sees no half-made block.
        mapped[8 : _HEADER.size] = _HEADER.pack(_MAGIC, layout.length, len(layout.text), layout.size, 0.0)[8:]
        mapped[:8] = _MAGIC
        self._blocks[layout.text] = start
        self._end = end

    def _open(self, start: int, layout: "_Layout") -> Block:
        mapped = self._map(start, layout.length)
        if mapped is None:
            raise AssertionError("a block has a header")
        whole = memoryview(mapped)
        cells = whole[layout.values_at : layout.values_at + 8 * layout.size].cast("d")
        in_use = whole[_IN_USE_AT : _HEADER.size].cast("d")
        starts = {(family.name, labels): at for family, labels, at in layout.places()}
        return Block(layout.families, np.asarray(cells), cells, in_use, starts)

    def _map(self, start: int, length: int) -> mmap.mmap | None:
        return mmap.mmap(self._file, length, offset=start) if length else None


@dataclass(frozen=True, slots=True)
class _Layout:
    families: tuple[Family, ...]
    text: str
    """The families as ASCII JSON."""

    @classmethod
    def of(cls, families: tuple[Family, ...]) -> "_Layout":
        return cls(families, json.dumps([asdict(family) for family in families]))

    @classmethod
    def parse(cls, text: str) -> "_Layout":
        return cls(tuple(_family(**fields) for fields in json.loads(text)), text)

    @property
    def size(self) -> int:
        return sum(family.size for family in self.families)

    @property
    def values_at(self) -> int:
        return _HEADER.size + -(-len(self.text) // 8) * 8

    @property
    def length(self) -> int:
        """Bytes, whole pages, as mapping wants it."""
        unit = mmap.ALLOCATIONGRANULARITY
        return -(-(self.values_at + 8 * self.size) // unit) * unit

    def places(self) -> Iterator[tuple[Family, tuple[str, ...], int]]:
        at = 0
        for family in self.families:
            for labels in family.series:
                yield family, labels, at
                at += family.width


def _family(*, labels: list[str], series: list[list[str]], bounds: list[float], **fields: str) -> Family:
    return Family(labels=tuple(labels), series=tuple(map(tuple, series)), bounds=tuple(bounds), **fields)  # type: ignore[arg-type]  # our own JSON


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


def _headers(content: "mmap.mmap | bytes | None") -> Iterator[tuple[int, _Layout, bool]]:
    """Give start, layout and whether it is in use of every whole block."""
    start, end = 0, len(content or b"")
    while content is not None and start + _HEADER.size <= end:
        magic, length, text_length, _, in_use = _HEADER.unpack_from(content, start)
        if magic != _MAGIC or start + length > end:
            return
        text_at = start + _HEADER.size
        yield start, _Layout.parse(content[text_at : text_at + text_length].decode()), bool(in_use)
        start += length


@dataclass(slots=True)
class Total:
    """A family added up over all workers."""

    family: Family
    values: dict[tuple[str, ...], npt.NDArray[np.float64]]
    """For each series its numbers: shape (family.width,)."""


def totals(directory: Path) -> list[Total]:
    """Add up all files, those of dead workers too; gauges count while their worker lives and uses them."""
    found: dict[str, Total] = {}
    for path in sorted(directory.glob("*.counters")):
        _add_file(path, found)
    return list(found.values())


def _add_file(path: Path, found: dict[str, Total]) -> None:
    with path.open("rb") as file:
        content = file.read()
        # Held for an instant at most; a worker starting just then takes the next free file.
        alive = not _locked(file.fileno())
    for start, layout, in_use in _headers(content):
        at = start + layout.values_at
        numbers = np.frombuffer(content, dtype=np.float64, count=layout.size, offset=at)
        for family, labels, place in layout.places():
            if family.kind != "gauge" or (alive and in_use):
                _add(found, family, labels, numbers[place : place + family.width])


def _add(found: dict[str, Total], family: Family, labels: tuple[str, ...], numbers: npt.NDArray[np.float64]) -> None:
    total = found.setdefault(family.name, Total(family, {}))
    if (family.kind, family.labels, family.bounds) != (total.family.kind, total.family.labels, total.family.bounds):
        return  # left by another release of the service in a directory that outlived it
    known = total.values.get(labels)
    if known is None:
        total.values[labels] = numbers.copy()
    elif family.kind == "gauge" and family.merge == "max":
        np.maximum(known, numbers, out=known)
    else:
        known += numbers
