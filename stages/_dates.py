"""Columns of dates written as text: in one form throughout, never guessed."""

import re
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import parse_date, parse_moment
from stages._findings import LEAVE_OUT, Cells, cast, read_text
from stages._params import DataParams

_TRIED = 32
_SAMPLE = 1000
_HALF = 0.5
_FORMS = ("Ymd", "dmY", "mdY", "dmy", "mdy", "ymd", "mY")
_WRITTEN_AS_NUMBER = {
    "%Y%m": "(?:19|20)[0-9]{4}",
    "%y%m%d": "[0-9]{6}",
    "%Y%m%d": "(?:19|20)[0-9]{6}",
    "%Y%m%d%H%M": "(?:19|20)[0-9]{10}",
    "%Y%m%d%H%M%S": "(?:19|20)[0-9]{12}",
}
"""Dates that are written as one whole number: the form, and what it looks like."""
_FEWEST_DATES = 3
_LAST_YEAR = 9999

_Moment = tuple[datetime, bool]
"""A moment in UTC, and whether its text names a time zone."""


def find_said_form(cells: Cells, data: DataParams) -> str | None:
    """Return the form that data.dates says: by column, or for every column in which all cells fit."""
    if data.dates is None or isinstance(data.dates, dict):
        return (data.dates or {}).get(cells.name)
    texts = cells.texts.slice(0, _TRIED).drop_null().to_pylist()
    if not texts or _parse_all(texts, data.dates) is None:
        return None
    return data.dates if _parse_all(pc.unique(cells.texts).drop_null().to_pylist(), data.dates) else None


def read_said_dates(cells: Cells, form: str, dates: dict[str, str]) -> pd.Series:
    dates[cells.name] = form
    texts = pc.unique(cells.texts).drop_null()
    parsed = _parse_all(texts.to_pylist(), form)
    if parsed is None:
        stray = next(text for text in texts.to_pylist() if _parse_all([text], form) is None)
        cells.report(cells.row_of(stray), f"is no date in the form {form}, which data.dates says")
        return read_text(cells)
    return _as_series(cells, texts, parsed)


def read_dates(cells: Cells, dates: dict[str, str], *, labels: bool) -> pd.Series | None:
    """Read a column of dates in one form; None for another.

    Reports dates that two forms can read, a mixture with and without time zone, and single cells
    that are no such dates; not in a target that `labels` says to hold classes.
    """
    for zone in (None, "UTC"):
        moments = cast(cells, pa.timestamp("us", zone))
        if moments is not None:
            return read_moments(cells, moments)
    texts = pc.unique(cells.texts).drop_null()
    every: list[str] = texts.to_pylist()
    if not any(letter.isdigit() for text in every[:_SAMPLE] for letter in text):
        return None
    parsed = {form: moments for form in _candidates(every) if (moments := _parse_all(every, form)) is not None}
    if len(parsed) == 1:
        ((form, moments),) = parsed.items()
        if form != "Ymd":
            dates[cells.name] = form
        return _as_series(cells, texts, moments)
    if labels:
        return None
    reported = _report_two_readings(cells, every, parsed) if parsed else _report_strays(cells, every)
    return read_text(cells) if reported else None


def _candidates(texts: list[str]) -> list[str]:
    """Return the forms to try: before a month's name, nobody writes a year of two digits."""
    named = any(re.search("[A-Za-z]{3}", text) for text in texts[:_SAMPLE])
    return [form for form in _FORMS if not (named and form == "ymd")]


def _parse_all(texts: list[str], form: str) -> list[_Moment] | None:
    try:
        return [parse_moment(text, form) for text in texts]
    except ValueError:
        return None


def _as_series(cells: Cells, texts: pa.Array, parsed: list[_Moment]) -> pd.Series:
    zoned = [with_zone for _, with_zone in parsed]
    if any(zoned) and not all(zoned):
        rare = 2 * sum(zoned) <= len(zoned)
        row = cells.row_of(texts[zoned.index(rare)].as_py())
        cells.report(row, f"has {'a' if rare else 'no'} time zone, unlike the other dates")
    values = np.array([*(moment for moment, _ in parsed), None], dtype="datetime64[us]")
    places = pc.index_in(cells.texts, texts).fill_null(len(parsed)).to_numpy()
    return pd.Series(values[places], name=cells.name)


def read_moments(cells: Cells, moments: pa.ChunkedArray) -> pd.Series:
    """Return dates or timestamps as datetime64[us], in UTC without a zone.

    Reports one beyond the years 1 to 9999, which the calendar of Python and JSON ends with.
    """
    if pa.types.is_timestamp(moments.type):
        moments = pc.cast(moments, pa.timestamp(moments.type.unit))
    years = pc.year(moments)
    row = cells.first(pc.or_(pc.less(years, 1), pc.greater(years, _LAST_YEAR)))
    if row is not None:
        cells.report(row, f"is beyond the years 1 to {_LAST_YEAR}")
        return read_text(Cells(cells.name, moments.cast(pa.string()), cells.findings))
    series: pd.Series[Any] = pc.cast(moments, pa.timestamp("us"), safe=False).to_pandas()
    return series.astype("datetime64[us]").rename(cells.name)


def _report_two_readings(cells: Cells, texts: list[str], parsed: dict[str, list[_Moment]]) -> bool:
    (one, dates), (other, others) = list(parsed.items())[:2]
    place = next((place for place, pair in enumerate(zip(dates, others, strict=True)) if pair[0] != pair[1]), 0)
    readings = f"{dates[place][0]:%Y-%m-%d} ({one}) or {others[place][0]:%Y-%m-%d} ({other})"
    remedy = f"set data.dates: {{{cells.name}: {one}}} or {other}, or {LEAVE_OUT}"
    cells.report(cells.row_of(texts[place]), f"may be {readings}, and no cell of the column tells which", remedy)
    return True


def _report_strays(cells: Cells, texts: list[str]) -> bool:
    """Report the first cell that is no date of the form that most cells have."""
    sample = texts[:_SAMPLE]
    fitting = {form: sum(_parse_all([text], form) is not None for text in sample) for form in _candidates(sample)}
    form = max(fitting, key=lambda form: fitting[form])
    if fitting[form] < _HALF * len(sample):
        return False
    stray = next(text for text in texts if _parse_all([text], form) is None)
    cells.report(cells.row_of(stray), f"is not a date in the form {form}, as the other values are")
    return True


def report_dates_written_as_numbers(cells: Cells, data: DataParams) -> bool:
    """Report whole numbers that are all dates of the calendar too, such as 20230131."""
    texts = pc.unique(cells.texts).drop_null()
    lengths = pc.min_max(pc.utf8_length(texts)).as_py()
    said = isinstance(data.dates, dict) and cells.name in data.dates
    if said or lengths["min"] != lengths["max"] or len(texts) < _FEWEST_DATES:
        return False
    for form, pattern in _WRITTEN_AS_NUMBER.items():
        if cells.all_match(pattern) and _parse_all(texts.to_pylist(), form) is not None:
            first = texts[0].as_py()
            problem = f"may be a number or the date {parse_date(first, form):%Y-%m-%d}, and nothing tells which"
            remedy = f"set data.dates: {{{cells.name}: '{form}'}}, or null for numbers, or {LEAVE_OUT}"
            cells.report(cells.row_of(first), problem, remedy)
            return True
    return False
