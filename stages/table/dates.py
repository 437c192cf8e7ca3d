"""Columns of dates written as text: in one form throughout, never guessed."""

import re
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import parse_date, parse_moment
from stages.params import DataParams
from stages.table.findings import LEAVE_OUT, Cells, Distinct, read_text

_TRIED = 32
_SAMPLE = 1000
_HALF = 0.5
_FORMS = ("Ymd", "dmY", "mdY", "dmy", "mdy", "ymd", "mY")
_WRITTEN_AS_NUMBER = {6: ("%Y%m", "%y%m%d"), 8: ("%Y%m%d",), 12: ("%Y%m%d%H%M",), 14: ("%Y%m%d%H%M%S",)}
"""Dates that are written as one whole number, by the number of digits."""
_FEWEST_DATES = 3
_LAST_YEAR = 9999

_Moment = tuple[datetime, bool]
"""A moment in UTC, and whether its text names a time zone."""


def read_said_dates(cells: Cells, data: DataParams, dates: dict[str, str]) -> pd.Series | None:
    """Read a column as data.dates says: by column, or in one form for every column in which all cells fit."""
    by_column = isinstance(data.dates, dict)
    form = data.dates.get(cells.name) if isinstance(data.dates, dict) else data.dates
    if form is None or (not by_column and _stray(cells.texts.slice(0, _TRIED).drop_null().to_pylist(), form)):
        return None
    distinct = cells.distinct()
    parsed = _parse_all(distinct.texts, form)
    if parsed is not None:
        dates[cells.name] = form
        return _as_series(cells, distinct, parsed)
    if not by_column:
        return None
    row = cells.row_of(_stray(distinct.texts, form) or "")
    cells.report(row, f"is no date in the form {form}, which data.dates says")
    return read_text(cells)


def _stray(texts: list[str], form: str) -> str | None:
    """Return the first text that is no date in this form."""
    return next((text for text in texts if _parse_all([text], form) is None), None)


def read_iso_dates(cells: Cells) -> pd.Series | None:
    """Read a column in ISO 8601, all with a zone or all without; None for another."""
    for zone in (None, "UTC"):
        moments = cells.cast(pa.timestamp("us", zone))
        if moments is not None:
            return read_moments(cells, moments)
    return None


def read_dates(cells: Cells, distinct: Distinct, dates: dict[str, str], *, labels: bool) -> pd.Series | None:
    """Read a column of dates in one form; None for another.

    Reports dates that two forms can read, a mixture with and without time zone, and single cells
    that are no such dates; not in a target that `labels` says to hold classes.
    """
    texts = distinct.texts
    if not any(letter.isdigit() for text in texts[:_SAMPLE] for letter in text):
        return None
    parsed = {form: moments for form in _candidates(texts) if (moments := _parse_all(texts, form)) is not None}
    if len(parsed) == 1:
        ((form, moments),) = parsed.items()
        if form != "Ymd":
            dates[cells.name] = form
        return _as_series(cells, distinct, moments)
    if labels:
        return None
    reported = _report_two_readings(cells, texts, parsed) if parsed else _report_strays(cells, distinct)
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


def _as_series(cells: Cells, distinct: Distinct, parsed: list[_Moment]) -> pd.Series:
    zoned = [with_zone for _, with_zone in parsed]
    if any(zoned) and not all(zoned):
        rare = 2 * sum(zoned) <= len(zoned)
        row = cells.row_of(distinct.texts[zoned.index(rare)])
        cells.report(row, f"has {'a' if rare else 'no'} time zone, unlike the other dates")
    return pd.Series(distinct.spread([moment for moment, _ in parsed], None, "datetime64[us]"), name=cells.name)


def read_moments(cells: Cells, moments: pa.ChunkedArray) -> pd.Series:
    """Return dates or timestamps as datetime64[us], in UTC without a zone.

    Reports one beyond the years 1 to 9999, which the calendar of Python and JSON ends with.
    """
    if pa.types.is_timestamp(moments.type):
        moments = pc.cast(moments, pa.timestamp(moments.type.unit))
    years = pc.year(moments)
    row = pc.index(pc.or_(pc.less(years, 1), pc.greater(years, _LAST_YEAR)), value=True).as_py()
    if row >= 0:
        cells.report(row, f"is beyond the years 1 to {_LAST_YEAR}")
        return read_text(Cells(cells.name, moments.cast(pa.string()), cells.findings))
    series: pd.Series[Any] = pc.cast(moments, pa.timestamp("us"), safe=False).to_pandas()
    return series.astype("datetime64[us]").rename(cells.name)


def _report_two_readings(cells: Cells, texts: list[str], parsed: dict[str, list[_Moment]]) -> bool:
    (one, dates), (other, others) = list(parsed.items())[:2]
    place = next((place for place, pair in enumerate(zip(dates, others, strict=True)) if pair[0] != pair[1]), 0)
    readings = f"{dates[place][0]:%Y-%m-%d} ({one}) or {others[place][0]:%Y-%m-%d} ({other})"
    if dates[place] == others[place]:  # a constant such as 01/01/2020; another row may come
        readings = f"in the form {one} or {other}"
    remedy = f"set data.dates: {{{cells.name}: {one}}} or {other}, or {LEAVE_OUT}"
    cells.report(cells.row_of(texts[place]), f"may be {readings}, and no cell of the column tells which", remedy)
    return True


def _report_strays(cells: Cells, distinct: Distinct) -> bool:
    """Report the first cell that is no date of the form that most cells have."""
    sample, counts = distinct.texts[:_SAMPLE], distinct.counts[:_SAMPLE]
    fits = {form: [_parse_all([text], form) is not None for text in sample] for form in _candidates(sample)}
    form = max(fits, key=lambda form: counts[fits[form]].sum())
    if counts[fits[form]].sum() < _HALF * counts.sum():
        return False
    row = cells.row_of(_stray(distinct.texts, form) or "")
    cells.report(row, f"is not a date in the form {form}, as the other values are")
    return True


def report_dates_written_as_numbers(cells: Cells, data: DataParams) -> bool:
    """Report whole numbers that are all dates of the calendar too, such as 20230131."""
    lengths = pc.min_max(pc.utf8_length(cells.texts)).as_py()
    forms = _WRITTEN_AS_NUMBER.get(lengths["min"], ())
    if lengths["min"] != lengths["max"] or not forms or (isinstance(data.dates, dict) and cells.name in data.dates):
        return False
    texts = cells.distinct().texts
    for form in forms:
        years = form.startswith("%y") or all(text.startswith(("19", "20")) for text in texts)
        if len(texts) >= _FEWEST_DATES and years and _parse_all(texts, form) is not None:
            problem = f"may be a number or the date {parse_date(texts[0], form):%Y-%m-%d}, and nothing tells which"
            remedy = f"set data.dates: {{{cells.name}: '{form}'}}, or null for numbers, or {LEAVE_OUT}"
            cells.report(cells.row_of(texts[0]), problem, remedy)
            return True
    return False
