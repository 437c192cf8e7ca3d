"""What an Arrow stream's messages would take to read, before anything of them is unpacked.

The format: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc,
its metadata FlatBuffers, which pyarrow has verified by the time they come here.
"""

import struct
from typing import Any, Final

from service.http.problems import Problem

_VERSION_5: Final = 4
"""Of Arrow 1.0; before, compressed batches were marked in other ways."""
_SCHEMA: Final = 1
_DICTIONARY: Final = 2
_BATCH: Final = 3
_COMPRESSED_HEAD: Final = 8
_METADATA: Final = 16
"""Part of the limit that a message's description may take: a schema of a million columns takes gigabytes."""
_TOO_LARGE: Final = "write smaller batches, or none that are compressed"


class _Table:
    """A FlatBuffers table; fields by their number."""

    def __init__(self, content: memoryview, at: int) -> None:
        self._content = content
        self._at = at
        self._fields = at - _number("<i", content, at)
        self._size = _number("<H", content, self._fields)

    def _place(self, field: int) -> int | None:
        slot = 4 + 2 * field
        offset = _number("<H", self._content, self._fields + slot) if slot < self._size else 0
        return self._at + offset if offset else None

    def number(self, field: int, kind: str) -> int:
        """Give a number, 0 if it is left out."""
        place = self._place(field)
        return 0 if place is None else _number(kind, self._content, place)

    def table(self, field: int) -> "_Table | None":
        """Give a table within."""
        place = self._place(field)
        return None if place is None else _Table(self._content, place + _number("<I", self._content, place))

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Give a list of pairs of 64-bit numbers."""
        place = self._place(field)
        if place is None:
            return []
        place += _number("<I", self._content, place)
        size = _number("<I", self._content, place)
        return list(struct.iter_unpack("<qq", self._content[place + 4 : place + 4 + 16 * size]))


def _number(kind: str, content: memoryview, at: int) -> int:
    if not 0 <= at <= len(content) - struct.calcsize(kind):
        raise ValueError("a message points out of itself")
    number: int = struct.unpack_from(kind, content, at)[0]
    return number


class Watch:
    """Adds up what messages unpack to, one after another."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._dictionaries: dict[int, int] = {}

    def check(self, message: Any) -> None:
        """Raise Problem if a message becomes larger than the limit, or pyarrow would copy it.

        Bytes that are not compressed are read where they are and take no memory.
        """
        content = memoryview(message.metadata).cast("B")
        if len(content) > self._limit // _METADATA:
            detail = f"A message is described in {len(content):,} bytes, where {self._limit // _METADATA:,} are taken"
            raise Problem(413, detail)
        top = _Table(content, _number("<I", content, 0))
        if top.number(0, "<h") < _VERSION_5:
            raise Problem(422, "The stream is of a version before Arrow 1.0; write it anew", title="Version")
        kind, header = top.number(1, "<B"), top.table(2)
        if header is None:
            return
        if kind == _SCHEMA and header.number(0, "<h"):
            raise Problem(422, "The stream is big-endian; send it little-endian", title="Big-endian")
        if kind == _BATCH:
            self._refuse_beyond(_unpacked(header, message.body))
        data = header.table(1) if kind == _DICTIONARY else None
        if data is not None:
            if header.number(2, "<B"):
                raise Problem(422, "Dictionaries that grow are not taken; send each whole", title="Delta dictionary")
            self._dictionaries[header.number(0, "<q")] = _unpacked(data, message.body)
            self._refuse_beyond(sum(self._dictionaries.values()))

    def _refuse_beyond(self, size: int) -> None:
        if size > self._limit:
            detail = f"A batch unpacks to {size:,} bytes, where {self._limit:,} are taken; {_TOO_LARGE}"
            raise Problem(413, detail)


def _unpacked(batch: _Table, body: Any) -> int:
    """Give the bytes that a batch's compressed buffers say they become."""
    if batch.table(3) is None or body is None:
        return 0
    content, total = memoryview(body).cast("B"), 0
    for offset, length in batch.pairs(2):
        if length >= _COMPRESSED_HEAD:
            size = _number("<q", content, offset)
            total += max(size, 0)  # -1 where it did not pay
    return total
