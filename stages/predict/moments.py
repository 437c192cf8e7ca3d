"""Encode moments quickly: most parts of a date depend only on the hour, so each hour is encoded once."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from service.encoding import DatePart, encode_dates

_BY_HOUR: Final = {"month", "day", "weekday", "hour", "dayofyear", "date"}
_HOUR: Final = 3_600_000_000
_MOST_HOURS: Final = 1 << 18
"""The most hours from the first to the last one: 30 years, or 1 MB for each part."""


class Moments:
    """Encodes the parts of moments, with a table of hours that grows as they come."""

    def __init__(self, parts: Sequence[DatePart]) -> None:
        self._parts = tuple(parts)
        self._low = 0
        self._hours = dict.fromkeys((part for part in parts if part in _BY_HOUR), np.empty(0, np.float32))
        """Each part's numbers by hour, from the hour `_low` on."""
        self._end = 0

    def encode(self, moments: npt.NDArray[np.datetime64], numbers: npt.NDArray[np.float32]) -> None:
        """Write the parts of moments in microseconds to `numbers`, shape (parts, rows); NaN where one is missing."""
        missing = np.isnat(moments)
        is_any_missing = missing.any()
        microseconds = np.where(missing, 0, moments.view(np.int64)) if is_any_missing else moments.view(np.int64)
        hours = microseconds // _HOUR
        if not len(hours) or not self._cover(int(hours.min()), int(hours.max())):
            numbers[:] = encode_dates(moments, self._parts).T
            return
        hours -= self._low
        for part, encoded in zip(self._parts, numbers, strict=True):
            if part in self._hours:
                np.take(self._hours[part], hours, out=encoded, mode="clip")  # other modes copy the output
            else:
                encoded[:] = encode_dates(moments, [part])[:, 0]
        if is_any_missing:
            numbers[:, missing] = np.nan

    def _cover(self, low: int, high: int) -> bool:
        """Extend the table to these hours; return False if it would be too large."""
        if self._low <= low and high < self._end:
            return True
        if self._low < self._end:
            low, high = min(low, self._low), max(high, self._end - 1)
        if high - low >= _MOST_HOURS:
            return False
        hours = (np.arange(low, high + 1) * _HOUR).view("datetime64[us]")
        self._hours = {part: encode_dates(hours, [part])[:, 0] for part in self._hours}
        self._low, self._end = low, high + 1
        return True
