"""What a Parquet file would take to read, before anything of it is unpacked.

A page's header says how large the page becomes, and readers make that room before they
look further; the file's directory may say otherwise. So the headers are what is checked,
and the directory is read here, for pyarrow's own view of it ends the process on some
damaged ones. The format: https://github.com/apache/parquet-format.
"""

from typing import Any, Final

from service.arrow.thrift import I32, I64, LIST, STRUCT, Fields, Reader
from service.http.problems import Problem

_ENCODINGS: Final = (0, 2, 3, 5, 8, 9)
"""PLAIN, PLAIN_DICTIONARY, RLE, DELTA_BINARY_PACKED, RLE_DICTIONARY, BYTE_STREAM_SPLIT.

Those of text by differences, DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY, make gigabytes of a few bytes.
"""
_DEEPEST: Final = 16
_FOOTER: Final = 8

# Numbers and kinds of the fields, as parquet.thrift has them.
_SCHEMA, _ROW_GROUPS = (2, LIST), (4, LIST)
_CHILDREN: Final = (5, I32)
_COLUMNS, _ROWS = (1, LIST), (3, I64)
_COLUMN: Final = (3, STRUCT)
_PATH, _COLUMN_VALUES, _PACKED, _DATA_AT, _DICTIONARY_AT = (3, LIST), (5, I64), (7, I64), (9, I64), (11, I64)
_PAGE_SIZE, _PAGE_PACKED = (2, I32), (3, I32)
_DATA, _DICTIONARY, _DATA_2 = (5, STRUCT), (7, STRUCT), (8, STRUCT)
_VALUES, _ENCODING, _ENCODING_2 = (1, I32), (2, I32), (4, I32)


def read_directory(content: memoryview, limit: int) -> list[Fields]:
    """Give the row groups' entries. Raises Problem unless the directory has at most `limit` bytes.

    This and what follows raise ValueError or LookupError for a file that is damaged.
    """
    magic = bytes(content[-4:])
    if magic == b"PARE":
        raise Problem(422, "The file is encrypted; send it plain", title="Encrypted")
    if len(content) <= _FOOTER or magic != b"PAR1":
        raise Problem(400, "The body is no Parquet file: its end is not PAR1", title="Not Parquet")
    size = int.from_bytes(content[-_FOOTER:-4], "little")
    if size > limit:
        raise _too_large(f"The file's directory has {size:,} bytes", limit, "write fewer row groups")
    if size > len(content) - _FOOTER:
        raise ValueError("the file's directory is cut off")
    fields = Reader(content[:-_FOOTER], len(content) - _FOOTER - size).struct()
    _check_depth(fields[_SCHEMA])
    groups: list[Fields] = fields[_ROW_GROUPS]
    return groups


def _check_depth(elements: list[Fields]) -> None:
    """Refuse groups in groups, for which readers need a stack; elements stand in depth-first order."""
    left: list[int] = []
    for element in elements:
        if not isinstance(element, dict):
            raise TypeError("the schema is no list of columns")
        if len(left) > _DEEPEST:
            raise Problem(422, "The columns are nested too deeply; a feature is one value a row", title="Nested")
        if left:
            left[-1] -= 1
        left.append(element.get(_CHILDREN, 0))
        while left and left[-1] <= 0:
            left.pop()


def count_rows(groups: list[Fields]) -> int:
    """Add up the rows that the row groups say they have."""
    return sum(group[_ROWS] for group in groups)


def check_pages(content: memoryview, groups: list[Fields], limit: int) -> None:
    """Raise Problem if the pages of a row group that are held at a time would take more than `limit` bytes."""
    for group in groups:
        held = 0
        for column in group[_COLUMNS]:
            held += _held(content, column[_COLUMN], limit)
            if held > limit:
                raise _too_large("Pages that are read together are larger", limit, "write smaller pages")


def _held(content: memoryview, column: Fields, limit: int) -> int:
    """Give the bytes of a column's largest page and of its dictionary."""
    if not column[_COLUMN_VALUES]:  # of which no page is read
        return 0
    at = column[_DATA_AT]
    if 0 < column.get(_DICTIONARY_AT, 0) < at:
        at = column[_DICTIONARY_AT]
    end, largest, dictionary = at + column[_PACKED], 0, 0
    if not 0 <= at <= end <= len(content):
        raise ValueError("a column lies outside the file")
    reader = Reader(content, at)
    while reader.at < end:
        page = reader.struct()
        if page[_PAGE_SIZE] > limit:
            size = f"A page of column {_name(column)} has {page[_PAGE_SIZE]:,} bytes"
            raise _too_large(size, limit, "write smaller pages")
        if _DICTIONARY in page:
            dictionary += page[_PAGE_SIZE]
        largest = max(largest, page[_PAGE_SIZE])
        _check_page(column, page)
        reader.at += page[_PAGE_PACKED]
    return largest + dictionary


def _check_page(column: Fields, page: Fields) -> None:
    if page[_PAGE_SIZE] < 0 or page[_PAGE_PACKED] < 0:
        raise ValueError("a page has a negative size")
    if _DICTIONARY in page and not 0 <= page[_DICTIONARY][_VALUES] <= page[_PAGE_SIZE]:
        raise ValueError("a dictionary says that it has more values than bytes")
    for data, encoding in ((_DATA, _ENCODING), (_DATA_2, _ENCODING_2)):
        if data in page and page[data][encoding] not in _ENCODINGS:
            detail = f"Column {_name(column)} has an encoding that is not taken; write it plain or by dictionary"
            raise Problem(422, detail, title="Encoding")


def _name(column: Fields) -> str:
    path: list[Any] = column.get(_PATH, [])
    return repr(b".".join(path).decode(errors="replace")[:80])


def _too_large(what: str, limit: int, remedy: str) -> Problem:
    return Problem(413, f"{what}, where {limit:,} are taken; {remedy}")
