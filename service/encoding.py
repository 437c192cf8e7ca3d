"""Encode values as float32 for the model, in the same way for training, evaluation and service.

A value is what `service.cells` returns for a text cell: a number, a boolean, a text or a datetime
without a zone; None if it is missing.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from service.cells import parse_date

MISSING: Final = -1.0
"""Code of a missing category; known categories have codes from 0."""
UNSEEN: Final = -2.0
"""Code of a category that the model doesn't know."""

Matrix = npt.NDArray[np.float32]
"""Encoded rows, float32, shape (rows, columns), C order; NaN where a number is missing."""
DatePart = Literal["days", "month", "day", "weekday", "hour", "dayofyear", "date", "second", "microsecond"]

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # datetimes have no zone here
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = 1_000_000
_HOUR: Final = 3600 * _SECOND
_DAY: Final = 24 * _HOUR


def encode_numbers(values: Any) -> Matrix:
    """Return numbers and booleans as shape (rows, 1); None, NA and NaN become NaN."""
    if hasattr(values, "to_numpy"):  # a pandas column, whose NA NumPy alone cannot convert
        values = values.to_numpy(dtype=np.float64, na_value=np.nan)
    # Numbers in text and in JSON become float64 first, so do the same here: large integers are rounded twice.
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float64).astype(np.float32).reshape(-1, 1)


def encode_categories(values: Any, codes: dict[Any, float]) -> Matrix:
    """Return codes of shape (rows, 1); None, NA and NaN become `MISSING`, other unknown values `UNSEEN`."""
    if hasattr(values, "factorize"):  # a pandas column: look up each different value once
        places, different = values.factorize()
        known = [codes.get(value, UNSEEN) for value in different]
        by_place: Matrix = np.asarray([*known, MISSING], dtype=np.float32)[places]  # the place -1 means missing
        return by_place.reshape(-1, 1)
    # A missing value is None or NaN, the only value that differs from itself.
    encoded = [codes.get(value, UNSEEN) if value == value else MISSING for value in values]  # noqa: PLR0124
    return np.asarray(encoded, dtype=np.float32).reshape(-1, 1)


def encode_dates(values: Any, parts: Sequence[DatePart]) -> Matrix:
    """Return shape (rows, len(parts)); a missing date is NaN in every part.

    Values are datetime64, dates, datetimes or ISO 8601 text; those with a zone are converted to UTC.
    """
    moments = _moments(values)
    encoded = np.stack([_part(moments.astype(np.int64), part) for part in parts], axis=1).astype(np.float32)
    encoded[np.isnat(moments)] = np.nan
    return encoded


def date_numbers(moment: datetime, parts: Iterable[DatePart]) -> tuple[float, ...]:
    """Return the parts of one datetime; as float32 they equal those of `encode_dates`."""
    microseconds = (moment - _EPOCH) // _MICROSECOND
    return tuple(float(_part(microseconds, part)) for part in parts)


def _part(microseconds: Any, part: DatePart) -> Any:  # noqa: PLR0911  # one for each part
    """Return a calendar part of microseconds since 1970, an integer or an array of them.

    Source of month and day: http://howardhinnant.github.io/date_algorithms.html#civil_from_days.
    """
    match part:
        case "days":
            return microseconds * 1.0 / _DAY
        case "hour":
            return microseconds // _HOUR % 24
        case "weekday":
            return (microseconds // _DAY + 3) % 7
        case "date":
            return microseconds // _DAY
        case "second":
            return microseconds % _DAY // _SECOND
        case "microsecond":
            return microseconds % _SECOND
    day = (microseconds // _DAY + 719_468) % 146_097  # of a cycle of 400 years, which begins in March
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    if part == "dayofyear":
        leap = (year % 4 == 0) & ((year % 100 != 0) | (year == 0))
        return day + 60 + leap - (day >= 306) * (365 + leap)  # noqa: PLR2004  # 1 January is day 306 from 1 March
    month = (5 * day + 2) // 153  # counted from March
    return (month + 2) % 12 + 1 if part == "month" else day - (153 * month + 2) // 5 + 1


def _moments(values: Any) -> npt.NDArray[np.datetime64]:
    dtype = getattr(values, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype.kind != "M":
        values = [_moment(value) for value in values]
    return np.asarray(values, dtype="datetime64[us]")


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        return parse_date(value)
    if isinstance(value, datetime):
        # Only pandas' NaT, which is a datetime by its class, differs from itself.
        if value != value:  # noqa: PLR0124
            return None
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if value is None or isinstance(value, date | np.datetime64):
        return value
    if value != value:  # noqa: PLR0124  # NaN, the only value that differs from itself
        return None
    raise ValueError(f"expected a date in ISO 8601, got {value!r}")
