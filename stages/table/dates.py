"""Read columns of dates, which have one form in all cells; nothing is guessed."""

import re
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import parse_moment
from stages.table.findings import LEAVE_OUT, Cells

_SAMPLE = 1000
_FORMS = ("Ymd", "dmY", "mdY", "dmy", "mdy", "ymd", "mY", "Ym")
_FORMS_WITH_NAMES = ("Ymd", "dmY", "mdY", "dmy", "mdy", "mY", "Ym", "my", "md", "ym", "dm")
"""Where a cell names its month, the day or the year may be missing; a two-digit year never comes before a name."""
_LOOK_LIKE_NUMBERS = {6: ("%Y%m", "%y%m%d"), 7: ("%Y.%m", "%m.%Y"), 8: ("%Y%m%d",)}
_LOOK_LIKE_NUMBERS |= {12: ("%Y%m%d%H%M",), 14: ("%Y%m%d%H%M%S",)}
"""Formats of dates that look like numbers, by the number of characters."""
_FEWEST = 3
_LIKELY_YEARS = range(1900, 2100)
_LAST_YEAR = 9999

Moments = list[tuple[datetime, bool]]
"""Moments in UTC, and whether their text names a time zone."""


def forms_to_try(texts: list[str]) -> tuple[str, ...]:
    """Return the forms that a column with these texts may have."""
    sample = " ".join(texts[:_SAMPLE])
    if not re.search(r"\d", sample):
        return ()
    return _FORMS_WITH_NAMES if re.search("[A-Za-z]{3}", sample) else _FORMS


def as_dates(cells: Cells, moments: Moments) -> pd.Series:
    """Return the column's moments; reports a mixture of dates with and without a time zone."""
    zoned = [with_zone for _, with_zone in moments]
    if any(zoned) and not all(zoned):
        rare = 2 * sum(zoned) <= len(zoned)
        problem = f"has {'a' if rare else 'no'} time zone, unlike the other dates"
        cells.report(cells.distinct[zoned.index(rare)], problem)
    return pd.Series(cells.spread([moment for moment, _ in moments], None, "datetime64[us]"), name=cells.name)


def read_iso_dates(cells: Cells) -> pd.Series | None:
    """Return the dates of a column in ISO 8601, all with or all without a time zone; None for other columns."""
    for zone in (None, "UTC"):
        moments = cells.cast(pa.timestamp("us", zone))
        if moments is not None:
            return read_moments(cells, moments)
    return None


def read_moments(cells: Cells, moments: pa.ChunkedArray) -> pd.Series:
    """Return dates or timestamps as datetime64[us], in UTC without a zone; reports one outside the years 1 to 9999."""
    if pa.types.is_timestamp(moments.type):
        moments = pc.cast(moments, pa.timestamp(moments.type.unit))
    years = pc.year(moments)
    row = pc.index(pc.or_(pc.less(years, 1), pc.greater(years, _LAST_YEAR)), value=True).as_py()
    if row >= 0:
        cells.report(row, f"is outside the years 1 to {_LAST_YEAR}")
        return cells.as_text()
    series: pd.Series[Any] = pc.cast(moments, pa.timestamp("us"), safe=False).to_pandas()
    return series.astype("datetime64[us]").rename(cells.name)


def report_two_forms(cells: Cells, parsed: dict[str, Moments]) -> None:
    """Report dates that fit two forms, with the first cell that differs between them."""
    (one, dates), (other, others) = list(parsed.items())[:2]
    place = next((place for place, pair in enumerate(zip(dates, others, strict=True)) if pair[0] != pair[1]), 0)
    readings = f"{dates[place][0]:%Y-%m-%d} ({one}) or {others[place][0]:%Y-%m-%d} ({other})"
    remedy = f"set data.dates: {{{cells.name}: {one}}} or {other}, or {LEAVE_OUT}"
    cells.report(cells.distinct[place], f"may be {readings}, and no cell shows which", remedy)


def report_dates_among_numbers(cells: Cells) -> bool:
    """Report numbers that are all valid dates too, such as 20230131 or 2023.01; return whether they are."""
    lengths = pc.min_max(pc.utf8_length(cells.texts)).as_py()
    for form in _LOOK_LIKE_NUMBERS.get(lengths["min"], ()) if lengths["min"] == lengths["max"] else ():
        moments, stray = cells.parse(partial(parse_moment, form=form))
        if stray is None and len(moments) >= _FEWEST and all(moment.year in _LIKELY_YEARS for moment, _ in moments):
            problem = f"may be a number or the date {moments[0][0]:%Y-%m-%d}, and no cell shows which"
            remedy = f"set data.dates: {{{cells.name}: '{form}'}}, or null for numbers, or {LEAVE_OUT}"
            cells.report(cells.distinct[0], problem, remedy)
            return True
    return False
