"""Refuse large JSON by what it holds, before any of it becomes Python objects.

A body of 30 MB can hold 10 million empty objects, which would take 900 MB. Here they are
counted in the bytes, and counting ends at the limit.
"""

import re
from typing import Final

from service.http.problems import Problem

SMALL: Final = 1024 * 1024
"""A body of so many bytes is built as it is: at most 24 MB of objects, in 0.1 s."""
LONGEST: Final = 1024 * 1024
"""Bytes of the longest text or number in a larger body."""

# A text of as many pieces is too long already. What stands between tokens belongs to the one before.
_TEXT: Final = rb'"(?:[^"\\]++|\\.){0,%d}+"?' % LONGEST
_TOKEN: Final = re.compile(rb'(%s|[\[{]|[^\s\[\]{}:,"]++|)[\s\]}:,]*+' % _TEXT, re.DOTALL)


def is_suspect(body: bytes, objects: int) -> bool:
    """Tell whether a body may hold more than so many objects, or a very long value; quick, and on the safe side."""
    if len(body) <= 2 * objects:
        return False
    if body.count(b"{") > objects:
        return True
    half = LONGEST // 2
    return any(body.find(b"{", at, at + half) < 0 for at in range(0, len(body) - half, half))


def check(body: bytes, objects: int, values: int) -> None:
    """Raise Problem (413) if a body of more than `SMALL` bytes has more objects and arrays, or more names and values.

    Values too long to be a right one are refused as well. What is no JSON may pass.
    """
    if len(body) <= SMALL:
        return
    for number, token in enumerate(_TOKEN.finditer(body)):
        begin, end = token.span(1)
        if end - begin > LONGEST:
            raise Problem(413, f"A value in the body has more than {LONGEST:,} bytes", title="Value too long")
        objects -= body[begin : begin + 1] in (b"{", b"[")  # an empty one where the body ends
        if objects < 0 or number > values:
            detail = "The body has more objects or values than the rows of one request; send a table as CSV or NDJSON"
            raise Problem(413, detail, title="Too many values")
