"""Columns of dates written as text."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages._cells import Cells, cast, count, first_known, refuse_strays

Moments = npt.NDArray[np.datetime64]
"""datetime64[us], without a zone: UTC where the file has zones."""

_ENOUGH = 0.5
_TIME = (
    r"(?:(?:[Tt]|,?\s+)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?$"
)
_YEAR_FIRST = r"^(?P<year>\d{4})%s(?P<month>\d{1,2})%s(?P<day>\d{1,2})" + _TIME
_YEAR_LAST = r"^(?P<first>\d{1,2})%s(?P<second_part>\d{1,2})%s(?P<year>\d{4})" + _TIME
_WORD = r"(?P<name>(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[A-Za-z]{0,6})"
_SEPARATORS = (r"-", r"/", r"\.")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FORMS = (
    *(_YEAR_FIRST % (separator, separator) for separator in _SEPARATORS),
    *(_YEAR_LAST % (separator, separator) for separator in _SEPARATORS),
    r"^(?P<day>\d{1,2})(?:st|nd|rd|th)?[-./ ]+" + _WORD + r"[-./, ]+(?P<year>\d{4})" + _TIME,
    r"^" + _WORD + r"[-./ ]+(?P<day>\d{1,2})(?:st|nd|rd|th)?[-./, ]+(?P<year>\d{4})" + _TIME,
)
"""What a date may look like; a column has one of these forms throughout."""
_WITH_DOTS = _YEAR_LAST % (r"\.", r"\.")
"""Where dots separate, the day is first everywhere."""
_ANY_FORM = r"^\d{1,4}[-/. ]|^\d{1,2}(st|nd|rd|th)|^[A-Za-z]{3,9}[-./ ]+\d"
_LAST_YEAR = 9999
_PER_SECOND = 1_000_000
_PARTS_OF_NUMBERS = ("year", "month", "day", "first", "second_part", "hour", "minute", "second")


@dataclass(frozen=True, slots=True)
class _Parsed:
    """The moments of some cells, NaT where there is no such date, and which cells name a zone."""

    moments: Moments
    zoned: npt.NDArray[np.bool_]


def read_dates(cells: Cells) -> pd.Series | None:
    """Read a column of dates or dates with times, in one form throughout; None for another.

    Forms: ISO 8601, the same with ``/`` or ``.``, ``31.12.2013``, ``31/12/2013`` or ``12/31/2013``
    (whichever the days beyond 12 prove), ``31 Dec 2013``, ``December 31, 2013``. A time zone is
    taken off by turning the time into UTC. Fractions finer than a microsecond are cut off.

    Raises UserError for a cell that is no date or in another form, and where nothing tells
    day from month.
    """
    iso = read_iso(cells)
    if iso is not None:
        return iso.rename(cells.name)
    head = first_known(cells)
    if count(pc.match_substring_regex(head, _ANY_FORM)) < _ENOUGH * len(head):
        return None
    form = max(_FORMS, key=lambda form: count(pc.match_substring_regex(head, form)))
    fits = cells.match(form)
    if count(fits) == cells.known:
        return pd.Series(_parse_all(cells, _with_order(cells, form)), name=cells.name)
    _refuse_mixed(cells, fits)
    return None


def _refuse_mixed(cells: Cells, fits: pa.ChunkedArray) -> None:
    """Refuse a column of dates in several forms, and one of dates with a few other texts."""
    problem = "is not a date written as the other values are"
    if count(cells.match("|".join(_without_names(form) for form in _FORMS))) == cells.known:
        row = pc.index(fits, value=False).as_py()
        raise cells.error(row, f"{cells.show(row)} {problem}")
    refuse_strays(cells, fits, problem)


def _without_names(form: str) -> str:
    return re.sub(r"\(\?P<\w+>", "(?:", form)


def read_iso(cells: Cells) -> pd.Series | None:
    """Read text in ISO 8601, all with a zone or all without; None for other text."""
    for zone in (None, "UTC"):
        moments = cast(cells, pa.timestamp("us", zone))
        if moments is not None:
            return naive(cells, moments)
    return None


def naive(cells: Cells, moments: pa.ChunkedArray) -> pd.Series:
    """Give dates or timestamps as datetime64[us], in UTC without a zone.

    Raises UserError for one beyond the years 1 to 9999, which the calendar of Python and JSON ends with.
    """
    if pa.types.is_timestamp(moments.type):
        moments = pc.cast(moments, pa.timestamp(moments.type.unit))
    years = pc.year(moments)
    beyond = pc.or_(pc.less(years, 1), pc.greater(years, _LAST_YEAR))
    if count(beyond):
        row = pc.index(beyond, value=True).as_py()
        raise cells.error(row, f"{cells.show(row)} is beyond the years 1 to {_LAST_YEAR}")
    series: pd.Series[Any] = pc.cast(moments, pa.timestamp("us"), safe=False).to_pandas()
    return series.astype("datetime64[us]").rename(cells.name)


def _with_order(cells: Cells, form: str) -> str:
    """Name the day and the month in a form that has them in either order."""
    if "<first>" not in form:
        return form
    day_first = cells.match(r"^(1[3-9]|[2-9]\d)\D")
    month_first = cells.match(r"^\d{1,2}\D(1[3-9]|[2-9]\d)\D")
    days, months = count(day_first), count(month_first)
    if days and months:
        row = pc.index(day_first if days < months else month_first, value=True).as_py()
        raise cells.error(row, f"{cells.show(row)} has day and month in another order than the other dates")
    if not days and not months and form != _WITH_DOTS:
        _refuse_ambiguous(cells)
    first, second = ("month", "day") if months else ("day", "month")
    return form.replace("<first>", f"<{first}>").replace("<second_part>", f"<{second}>")


def _refuse_ambiguous(cells: Cells) -> None:
    parts = pc.extract_regex(cells.column, r"^0?(?P<a>\d{1,2})\D0?(?P<b>\d{1,2})\D")
    differ = pc.not_equal(pc.struct_field(parts, "a"), pc.struct_field(parts, "b"))
    if count(differ):
        row = pc.index(differ, value=True).as_py()
        raise cells.error(
            row,
            f"{cells.show(row)} may be day/month or month/day, and no date of the column tells which",
            "write dates as 2013-12-31, or list the column under data.categorical or data.ignore",
        )


def _parse_all(cells: Cells, form: str) -> Moments:
    parsed = [_parse(chunk, form) for chunk in cells.column.chunks]
    moments = np.concatenate([part.moments for part in parsed])
    zoned = np.concatenate([part.zoned for part in parsed])
    known = cells.column.is_valid().to_numpy()
    impossible = np.isnat(moments) & known
    if impossible.any():
        row = int(np.argmax(impossible))
        raise cells.error(row, f"{cells.show(row)} is no date of the calendar")
    if (zoned & known).any() and (~zoned & known).any():
        few = zoned if 2 * np.count_nonzero(zoned) < cells.known else ~zoned
        row = int(np.argmax(few & known))
        says = "has a time zone" if zoned[row] else "has no time zone"
        raise cells.error(row, f"{cells.show(row)} {says}, unlike the other dates")
    return moments


def _parse(chunk: pa.Array, form: str) -> _Parsed:
    groups = pc.extract_regex(chunk, form)
    names = {field.name for field in groups.type}
    part = {name: _whole(pc.struct_field(groups, name)) for name in _PARTS_OF_NUMBERS if name in names}
    month = part["month"] if "month" in part else _month_of(pc.struct_field(groups, "name"))
    half, zone = pc.struct_field(groups, "half"), pc.struct_field(groups, "zone")
    hour, clock = _hour(part["hour"], half)
    days, calendar = _days(part["year"], month, part["day"])
    seconds = (hour * 60 + part["minute"]) * 60 + part["second"] - _offset(zone)
    moments = days.astype("datetime64[us]") + (seconds * _PER_SECOND + _fraction(groups)).astype("timedelta64[us]")
    possible = calendar & clock & (part["minute"] < 60) & (part["second"] < 60)  # noqa: PLR2004  # of a clock
    possible &= chunk.is_valid().to_numpy(zero_copy_only=False)
    moments[~possible] = np.datetime64("NaT")
    return _Parsed(moments, _flags(pc.not_equal(zone, "")))


def _flags(array: pa.Array) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = array.fill_null(fill_value=False).to_numpy(zero_copy_only=False)
    return flags


def _whole(array: pa.Array) -> npt.NDArray[np.int64]:
    filled = pc.if_else(pc.equal(array.fill_null(""), ""), "0", array)
    numbers: npt.NDArray[np.int64] = pc.cast(filled, pa.int64()).to_numpy()
    return numbers


def _fraction(groups: pa.Array) -> npt.NDArray[np.int64]:
    padded = pc.utf8_rpad(pc.struct_field(groups, "fraction").fill_null(""), 9, "0")
    return _whole(pc.utf8_slice_codeunits(padded, 0, 6))


def _month_of(names: pa.Array) -> npt.NDArray[np.int64]:
    heads = pc.utf8_lower(pc.utf8_slice_codeunits(names, 0, 3))
    places: npt.NDArray[np.int64] = pc.index_in(heads, value_set=pa.array(_MONTHS)).fill_null(0).to_numpy()
    return places + np.int64(1)


def _hour(hour: npt.NDArray[np.int64], half: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Give the hour of the day, and whether the clock has it."""
    twelve = _flags(pc.not_equal(half, ""))
    afternoon = _flags(pc.match_substring_regex(half, "^[Pp]"))
    possible = np.where(twelve, (hour >= 1) & (hour <= 12), hour <= 23)  # noqa: PLR2004  # of a clock
    return np.where(twelve, hour % 12 + 12 * afternoon, hour), possible


def _days(
    year: npt.NDArray[np.int64], month: npt.NDArray[np.int64], day: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.bool_]]:
    """Give the day as datetime64[D], and whether the calendar has it."""
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")
    within = (year > 0) & (month >= 1) & (month <= len(_MONTHS))
    return days, within & (day >= 1) & (days.astype("datetime64[M]") == months)


def _offset(zones: pa.Array) -> npt.NDArray[np.int64]:
    """Give each zone's distance from UTC in seconds."""
    encoded = zones.fill_null("").dictionary_encode()
    each = np.asarray([_seconds_of(zone) for zone in encoded.dictionary.to_pylist()], dtype=np.int64)
    seconds: npt.NDArray[np.int64] = each[encoded.indices.to_numpy()]
    return seconds


def _seconds_of(zone: str) -> int:
    digits = zone.lstrip("+-").replace(":", "")
    if not digits.isdigit():
        return 0
    seconds = int(digits[:2]) * 3600 + int(digits[2:] or "0") * 60
    return -seconds if zone.startswith("-") else seconds
