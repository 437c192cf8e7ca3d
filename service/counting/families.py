"""Metrics with all their label values, and how their numbers lie in a file."""

import json
import mmap
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Final, Literal

MAGIC: Final = b"COUNTER1"
HEADER: Final = struct.Struct("<8sQQQd")  # magic, bytes of the block, of the layout, numbers, 1.0 if in use
IN_USE_AT: Final = 32


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


@dataclass(frozen=True, slots=True)
class Layout:
    """How the numbers of some families lie in a block."""

    families: tuple[Family, ...]
    text: str
    """The families as ASCII JSON."""

    @classmethod
    def of(cls, families: tuple[Family, ...]) -> "Layout":
        """Lay families out."""
        return cls(families, json.dumps([asdict(family) for family in families]))

    @property
    def size(self) -> int:
        """Numbers in all."""
        return sum(family.size for family in self.families)

    @property
    def values_at(self) -> int:
        """Where the numbers begin, in bytes from the block's start."""
        return HEADER.size + -(-len(self.text) // 8) * 8

    @property
    def length(self) -> int:
        """Bytes, whole pages, as mapping wants it."""
        unit = mmap.ALLOCATIONGRANULARITY
        return -(-(self.values_at + 8 * self.size) // unit) * unit

    def places(self) -> Iterator[tuple[Family, tuple[str, ...], int]]:
        """Give each series, and which of the numbers is its first."""
        at = 0
        for family in self.families:
            for labels in family.series:
                yield family, labels, at
                at += family.width


@lru_cache(64)  # whoever asks for metrics reads the same layouts again and again
def _parse(text: bytes) -> Layout:
    return Layout(tuple(_family(**fields) for fields in json.loads(text)), text.decode())


def _family(*, labels: list[str], series: list[list[str]], bounds: list[float], **fields: str) -> Family:
    return Family(labels=tuple(labels), series=tuple(map(tuple, series)), bounds=tuple(bounds), **fields)  # type: ignore[arg-type]  # our own JSON


def headers(content: "mmap.mmap | bytes | None") -> Iterator[tuple[int, Layout, bool]]:
    """Give start, layout and whether it is in use of every whole block."""
    start, end = 0, len(content or b"")
    while content is not None and start + HEADER.size <= end:
        magic, length, text_length, _, in_use = HEADER.unpack_from(content, start)
        if magic != MAGIC or start + length > end:
            return
        text_at = start + HEADER.size
        yield start, _parse(content[text_at : text_at + text_length]), bool(in_use)
        start += length
