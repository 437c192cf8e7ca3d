"""Read columns of dates, which have one form in all cells; nothing is guessed."""

import re
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import parse_moment
from stages.table.findings import LEAVE_OUT, Cells

_FORMS = ("Ymd", "dmY", "mdY", "dmy", "mdy", "ymd", "mY", "Ym")
_FORMS_WITH_NAMES = ("Ymd", "dmY", "mdY", "dmy", "mdy", "mY", "Ym", "my", "md", "ym", "dm")
"""Where a cell names its month, the day or the year may be missing; a two-digit year never comes before a name."""
_LOOK_LIKE_NUMBERS = {6: ("%Y%m", "%y%m%d"), 7: ("%Y.%m", "%m.%Y"), 8: ("%Y%m%d",)}
_LOOK_LIKE_NUMBERS |= {12: ("%Y%m%d%H%M",), 14: ("%Y%m%d%H%M%S",)}
"""Formats of dates that look like numbers, by the number of characters."""
_FEWEST = 3
_LIKELY_YEARS = np.array(["1900", "2100"], dtype="datetime64[us]")
_LAST_YEAR = 9999

Moments = npt.NDArray[np.void]
"""The `moment` of each row in UTC, and whether its text has a `zone`."""
_MOMENTS = np.dtype([("moment", "datetime64[us]"), ("zone", np.bool_)])


def parse_dates(cells: Cells, form: str) -> tuple[Moments, str | None]:
    """Return each row's moment, and None or the first text that is no date of this form."""
    return cells.parse(partial(parse_moment, form=form), (None, False), _MOMENTS)


def forms_to_try(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the forms that a column with these first texts may have."""
    sample = " ".join(texts)
    if not re.search(r"\d", sample):
        return ()
    return _FORMS_WITH_NAMES if re.search("[A-Za-z]{3}", sample) else _FORMS


def as_dates(cells: Cells, moments: Moments) -> pd.Series:
    """Return the column's moments; reports a mixture of dates with and without a time zone."""
    zoned, known = moments["zone"], ~np.isnat(moments["moment"])
    count = int(np.count_nonzero(zoned))
    if 0 < count < cells.known:
        rare = 2 * count <= cells.known
        problem = f"has {'a' if rare else 'no'} time zone, unlike the other dates"
        cells.report(int(np.argmax(known & (zoned == rare))), problem)
    return pd.Series(np.ascontiguousarray(moments["moment"]), name=cells.name)


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
    known, differ = ~np.isnat(dates["moment"]), dates["moment"] != others["moment"]
    row = int(np.argmax(known & differ if (known & differ).any() else known))
    days = [moments["moment"][row].astype("datetime64[D]") for moments in (dates, others)]
    readings = f"{days[0]} ({one}) or {days[1]} ({other})"
    remedy = f"set data.dates: {{{cells.name}: {one}}} or {other}, or {LEAVE_OUT}"
    cells.report(row, f"may be {readings}, and no cell shows which", remedy)


def _are_likely(moments: npt.NDArray[np.datetime64]) -> bool:
    """Return whether all dates are in the years from 1900 to 2099."""
    return not ((moments < _LIKELY_YEARS[0]) | (moments >= _LIKELY_YEARS[1])).any()


def report_dates_among_numbers(cells: Cells) -> bool:
    """Report numbers that are all valid dates too, such as 20230131 or 2023.01; return whether they are."""
    lengths = pc.min_max(pc.utf8_length(cells.texts)).as_py()
    for form in _LOOK_LIKE_NUMBERS.get(lengths["min"], ()) if lengths["min"] == lengths["max"] else ():
        moments, stray = parse_dates(cells, form)
        if stray is None and len(cells.counts) >= _FEWEST and _are_likely(moments["moment"]):
            row = int(np.argmax(~np.isnat(moments["moment"])))
            day = moments["moment"][row].astype("datetime64[D]")
            problem = f"may be a number or the date {day}, and no cell shows which"
            remedy = f"set data.dates: {{{cells.name}: '{form}'}}, or null for numbers, or {LEAVE_OUT}"
            cells.report(row, problem, remedy)
            return True
    return False
