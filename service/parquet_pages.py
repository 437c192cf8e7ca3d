"""What a Parquet file would take to read, before anything of it is unpacked.

A page's header says how large the page becomes, and readers make that room before they
look further; the file's directory may say otherwise. So the headers are what is checked.
The format: https://github.com/apache/parquet-format, written in Thrift's compact protocol.
"""

from typing import TYPE_CHECKING, Any, Final

from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

_ENCODINGS: Final = (0, 2, 3, 5, 8, 9)
"""PLAIN, PLAIN_DICTIONARY, RLE, DELTA_BINARY_PACKED, RLE_DICTIONARY, BYTE_STREAM_SPLIT.

Those of text by differences, DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY, make gigabytes of a few bytes.
"""
_DICTIONARY: Final = 2
_DEEPEST: Final = 16
_FOOTER: Final = 8


class _Thrift:
    """Reads structures, as dictionaries by the fields' numbers; text is passed over."""

    def __init__(self, content: memoryview, at: int) -> None:
        self._content = content
        self.at = at
        self._readers: dict[int, Callable[[int], Any]] = {
            1: lambda _: True,
            2: lambda _: False,
            3: lambda _: self._skip(1),
            4: lambda _: self._zigzag(),
            5: lambda _: self._zigzag(),
            6: lambda _: self._zigzag(),
            7: lambda _: self._skip(8),
            8: lambda _: self._skip(self._varint()),
            9: self._list,
            10: self._list,
            12: self.struct,
        }

    def struct(self, depth: int = 0, last: int | None = None) -> dict[int, Any]:
        """Read a structure, up to the field `last`. Raises ValueError or IndexError if it is none."""
        if depth > _DEEPEST:
            raise ValueError("a structure nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while number != last and (head := self._byte()):
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind not in self._readers:
            raise ValueError("a structure of an unknown kind")
        return self._readers[kind](depth + 1)

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size, kind = head >> 4, head & 15
        if size == 15:  # noqa: PLR2004  # the size stands behind
            size = self._varint()
        if kind in (1, 2):
            return [self._byte() for _ in range(size)]
        return [self._value(kind, depth) for _ in range(size)]

    def _byte(self) -> int:
        self.at += 1
        return self._content[self.at - 1]

    def _skip(self, size: int) -> int:
        self.at += size
        return size

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:  # noqa: PLR2004  # the last one
                return value
            if shift > 63:  # noqa: PLR2004  # bits of the largest
                raise ValueError("a number that is too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)


def check_footer(content: memoryview, limit: int) -> None:
    """Raise Problem unless the file's directory has at most `limit` bytes and no column nested deeply."""
    magic = bytes(content[-4:])
    if len(content) <= _FOOTER or magic != b"PAR1":
        encrypted = magic == b"PARE"
        what = "The file is encrypted" if encrypted else "The body is no Parquet file: its end is not PAR1"
        raise Problem(422 if encrypted else 400, what, title="Encrypted" if encrypted else "Not Parquet")
    size = int.from_bytes(content[-_FOOTER:-4], "little")
    if size > limit:
        raise _too_large(f"The file's directory has {size:,} bytes", limit, "write fewer row groups")
    if size > len(content) - _FOOTER:
        raise ValueError("the file's directory is cut off")
    fields = _Thrift(content, len(content) - _FOOTER - size).struct(last=2)
    _check_depth([element.get(5, 0) for element in fields[2]])


def _check_depth(children: list[int]) -> None:
    """Look at how many children each element of the schema has, in depth-first order."""
    open_elements: list[int] = []
    for number in children:
        if len(open_elements) > _DEEPEST:
            raise Problem(422, "The columns are nested too deeply; a feature is one value a row", title="Nested")
        if open_elements:
            open_elements[-1] -= 1
        if number:
            open_elements.append(number)
        while open_elements and open_elements[-1] <= 0:
            open_elements.pop()


def check_pages(content: memoryview, row_group: Any, limit: int) -> None:
    """Raise Problem if the pages of a row group that are held at a time would take more than `limit` bytes."""
    held = 0
    for number in range(row_group.num_columns):
        held += _held(content, row_group.column(number), limit)
        if held > limit:
            raise _too_large("Pages that are read together are larger", limit, "write smaller pages")


def _held(content: memoryview, column: Any, limit: int) -> int:
    """Give the bytes of a column's largest page and of its dictionary."""
    at = column.data_page_offset
    if column.dictionary_page_offset and 0 < column.dictionary_page_offset < at:
        at = column.dictionary_page_offset
    end, seen, largest, dictionary = at + column.total_compressed_size, 0, 0, 0
    if not 0 <= at <= end <= len(content):
        raise ValueError("a column lies outside the file")
    thrift = _Thrift(content, at)
    while thrift.at < end and seen < column.num_values:
        page = thrift.struct()
        kind, size, packed = page[1], page[2], page[3]
        if size < 0 or packed < 0:
            raise ValueError("a page has a negative size")
        if size > limit:
            raise _too_large(f"A page of column {column.path_in_schema[:80]!r} has {size:,} bytes", limit, "")
        head = page.get(5) or page.get(8) or page.get(7) or {1: 0, 2: 0}
        if kind == _DICTIONARY:
            dictionary += size
            if head[1] > size:
                raise ValueError("a dictionary says that it has more values than bytes")
        else:
            seen, largest = seen + max(head[1], 0), max(largest, size)
            _check_encoding(column, head[4 if 8 in page else 2])  # noqa: PLR2004  # the numbers of the fields
        thrift.at += packed
    return largest + dictionary


def _check_encoding(column: Any, encoding: int) -> None:
    if encoding not in _ENCODINGS:
        detail = (
            f"Column {column.path_in_schema[:80]!r} has an encoding that is not taken; write it plain or by dictionary"
        )
        raise Problem(422, detail, title="Encoding")


def _too_large(what: str, limit: int, remedy: str) -> Problem:
    return Problem(413, f"{what}, where {limit:,} are taken{'; ' if remedy else ''}{remedy}")
