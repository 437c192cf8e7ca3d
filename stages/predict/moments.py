"""Encode moments quickly: most parts of a date depend only on the hour, so each hour is encoded once."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from service.encoding import DatePart, Matrix, encode_dates

_BY_HOUR: Final = {"month", "day", "weekday", "hour", "dayofyear", "date"}
_HOUR: Final = 3_600_000_000
_MOST_HOURS: Final = 1 << 18
"""The most hours from the first to the last one: 30 years, or 1 MB for each part."""


class Moments:
    """Encodes the parts of moments, with a table of hours that grows as they come."""

    def __init__(self, parts: Sequence[DatePart]) -> None:
        self._parts = tuple(parts)
        self._by_hour = [part in _BY_HOUR for part in parts]
        self._low = 0
        self._table: Matrix = np.empty((0, sum(self._by_hour)), np.float32)

    def encode(self, column: pa.Array) -> Matrix:
        """Return the parts of timestamps in microseconds, shape (rows, parts); NaN where one is missing."""
        moments = column.to_numpy(zero_copy_only=False).astype("datetime64[us]", copy=False)
        missing = np.isnat(moments) if column.null_count else None
        microseconds = moments.view(np.int64) if missing is None else np.where(missing, 0, moments.view(np.int64))
        hours = microseconds // _HOUR
        if not len(hours) or not self._cover(int(hours.min()), int(hours.max())):
            return encode_dates(moments, self._parts)
        encoded: Matrix = self._table[hours - self._low]
        if not all(self._by_hour):
            others = [part for part, each in zip(self._parts, self._by_hour, strict=True) if not each]
            joined: Matrix = np.empty((len(hours), len(self._parts)), np.float32)
            joined[:, self._by_hour] = encoded
            joined[:, np.logical_not(self._by_hour)] = encode_dates(moments, others)
            encoded = joined
        if missing is not None:
            encoded[missing] = np.nan
        return encoded

    def _cover(self, low: int, high: int) -> bool:
        """Extend the table to these hours; return False if it would be too large."""
        if self._low <= low and high < self._low + len(self._table):
            return True
        if len(self._table):
            low, high = min(low, self._low), max(high, self._low + len(self._table) - 1)
        if high - low >= _MOST_HOURS:
            return False
        parts = [part for part, each in zip(self._parts, self._by_hour, strict=True) if each]
        hours: npt.NDArray[np.int64] = np.arange(low, high + 1) * _HOUR
        self._table = (
            encode_dates(hours.view("datetime64[us]"), parts) if parts else np.empty((len(hours), 0), np.float32)
        )
        self._low = low
        return True
