"""Dates as callers write them, as the numbers that a model takes."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from math import inf, nan
from typing import Any

import msgspec

from service.contract import DateFeature, DatePart

_EPOCH_DAY = 719_163
_MICROSECONDS_A_DAY = 86_400_000_000
_MAX_LENGTH = 40
_DATE_LENGTH = 10
_HAS_TIME = frozenset("Tt ")
_REMEMBERED = 16_384

Numbers = tuple[float, ...]


def parse(text: str) -> datetime:
    """Read ISO 8601, a date or a date with time, without zone or in UTC.

    Raises ValueError for anything else.
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError("too long for a date")
    if len(text) > _DATE_LENGTH and not _HAS_TIME.intersection(text):
        raise ValueError("no T before the time")  # a zone would be read as hours, for Python takes any separator
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        if moment.utcoffset():
            raise ValueError("a zone other than UTC")
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment


def days(moment: datetime) -> float:
    """Days since 1970-01-01, with the fraction."""
    day = moment.toordinal() - _EPOCH_DAY
    second = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return (day * _MICROSECONDS_A_DAY + second * 1_000_000 + moment.microsecond) / _MICROSECONDS_A_DAY


_PARTS: dict[DatePart, Callable[[datetime], float]] = {
    "days": days,
    "month": lambda moment: moment.month,
    "day": lambda moment: moment.day,
    "weekday": lambda moment: moment.weekday(),
    "hour": lambda moment: moment.hour,
}


def reader(feature: DateFeature) -> Callable[[Any], Numbers]:
    """Make a function from text, None or UNSET to the feature's parts and, last, its days.

    A missing date is NaN, one left out (UNSET) infinite, so that it is noticed. The
    function raises ValueError for text that is no date; it remembers what came lately,
    since rows that come together share their dates.
    """
    read = tuple(_PARTS[part] for part in (*feature.parts, "days"))
    missing, left_out = (nan,) * len(read), (inf,) * len(read)

    @lru_cache(_REMEMBERED)
    def numbers(value: Any) -> Numbers:
        if value is None:
            return missing
        if value is msgspec.UNSET:
            return left_out
        moment = parse(value)
        return tuple(float(part(moment)) for part in read)

    return numbers
