"""Protobuf's wire format, read without a schema and without building anything.

The format is described at https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(Exception):
    """The bytes are no protobuf message, or not the expected one."""


Value = int | tuple[int, int]
"""A number, or where bytes begin and end."""


def fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, Value]]:
    """Give number and value of each field of the message between `start` and `end`."""
    while start < end:
        number, value, start = field_at(content, start, end)
        yield number, value


def field_at(content: bytes, start: int, end: int) -> tuple[int, Value, int]:
    """Number, value and end of the field that begins at `start`."""
    key, start = _varint(content, start)
    kind = key & 7
    value: Value
    if kind == _VARINT:
        value, after = _varint(content, start)
    elif kind == _BYTES:
        length, start = _varint(content, start)
        after = start + length
        value = (start, after)
    elif kind in (_FIXED32, _FIXED64):
        after = start + (4 if kind == _FIXED32 else 8)
        value = (start, after)
    else:
        raise WireError("no protobuf")
    if after > end:
        raise WireError("cut off")
    return key >> 3, value, after


def _varint(content: bytes, start: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, start
    raise WireError("no protobuf")


def integer(value: Value) -> int:
    """A varint as the signed 64-bit integer that it stands for."""
    if not isinstance(value, int):
        raise WireError("no protobuf")
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


def integers(content: bytes, value: Value) -> Iterator[int]:
    """Repeated integers, packed or one by one."""
    if isinstance(value, int):
        yield integer(value)
        return
    start, end = value
    while start < end:
        number, start = _varint(content, start)
        yield integer(number)


def span(value: Value) -> tuple[int, int]:
    """Give where the bytes begin and end."""
    if isinstance(value, int):
        raise WireError("no protobuf")
    return value


def text(content: bytes, value: Value) -> str:
    """Give the bytes as UTF-8."""
    start, end = span(value)
    return content[start:end].decode()


def inside(content: bytes, where: tuple[int, int], *path: int) -> Iterator[tuple[int, int]]:
    """Where the messages stand that are reached through the fields of `path`."""
    if not path:
        yield where
        return
    for number, value in fields(content, *where):
        if number == path[0]:
            yield from inside(content, span(value), *path[1:])
