"""Refuse large JSON by what it may hold, before any of it becomes Python objects.

A body of 30 MB can hold 10 million empty objects, which would take 900 MB. Counting the marks
between values takes 20 ms. Marks inside texts count too, so some times as many as needed are allowed.
"""

from typing import Final

from service.http.problems import Problem

_SMALL: Final = 1024 * 1024
"""A body of so many bytes is built as it is: at most 24 MB of objects, in 0.1 s."""
_LONGEST: Final = 512 * 1024
"""Bytes without a comma from which on a larger body is refused."""


def check(body: bytes, objects: int, values: int) -> None:
    """Raise Problem (413) if a body may have many more objects and arrays, or values, or a very long one."""
    if len(body) <= _SMALL:
        return
    if body.count(b"{") + body.count(b"[") > 4 * objects or body.count(b",") > 2 * values:
        detail = "The body has more objects or values than the rows of one request; send a table as CSV or NDJSON"
        raise Problem(413, detail, title="Too many values")
    if any(body.find(b",", at, at + _LONGEST) < 0 for at in range(0, len(body) - _LONGEST, _LONGEST)):
        raise Problem(413, f"A value in the body has more than {_LONGEST:,} bytes", title="Value too long")
