"""Structures in Thrift's compact protocol, of which Parquet's headers and directory are made.

The protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. What is
read here is read again by a library, which must not find anything else in it: so a field that comes
twice, or a number that only wraps around to a valid one, is an error.
"""

from typing import Any, Final

Fields = dict[tuple[int, int], Any]
"""Values by the field's number and kind."""

I32: Final = 5
I64: Final = 6
TEXT: Final = 8
LIST: Final = 9
STRUCT: Final = 12

_NUMBERS: Final = (4, I32, I64)
_SIZES: Final = {1: 0, 2: 0, 3: 1, 7: 8}
"""Bytes of the truth values, a byte and a double, which are passed over."""
_BOOLEANS: Final = (1, 2)
_LISTS: Final = (LIST, 10)
_LONG_LIST: Final = 15
_LAST_FIELD: Final = 2**15 - 1
_BITS: Final = {4: 16, I32: 32, I64: 64}
_DEEPEST: Final = 16


class Reader:
    """Reads structures one after another; raises ValueError or IndexError for what is none."""

    def __init__(self, content: memoryview, at: int) -> None:
        self._content = content
        self.at = at
        """Place of the next byte."""

    def struct(self, depth: int = 0) -> Fields:
        """Read a structure."""
        if depth > _DEEPEST:
            raise ValueError("a structure is nested too deeply")
        fields: Fields = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._number(16)
            kind = head & 15
            if (number, kind) in fields or not 0 < number <= _LAST_FIELD:
                raise ValueError("a field comes twice or has no number")
            fields[number, kind] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _NUMBERS:
            return self._number(_BITS[kind])
        if kind == TEXT:
            return self._bytes(self._varint(32))
        if kind in _LISTS:
            return self._list(depth)
        if kind == STRUCT:
            return self.struct(depth + 1)
        return self._bytes(_SIZES[kind])

    def _list(self, depth: int) -> list[Any]:
        if depth > _DEEPEST:
            raise ValueError("a list is nested too deeply")
        head = self._byte()
        size, kind = head >> 4, head & 15
        if size == _LONG_LIST:
            size = self._varint(32)
        if size > len(self._content) - self.at:
            raise ValueError("a list is longer than what holds it")
        if kind in _BOOLEANS:
            return list(self._bytes(size))
        return [self._value(kind, depth + 1) for _ in range(size)]

    def _byte(self) -> int:
        self.at += 1
        return self._content[self.at - 1]

    def _bytes(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self._content):
            raise ValueError("it is cut off")
        return bytes(self._content[self.at - size : self.at])

    def _varint(self, bits: int) -> int:
        value = shift = 0
        more = True
        while more:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            more = byte > 127  # noqa: PLR2004  # its highest bit says that another follows
            if value >> bits:
                raise ValueError("a number is too large")
        return value

    def _number(self, bits: int) -> int:
        value = self._varint(bits)
        return value >> 1 ^ -(value & 1)
