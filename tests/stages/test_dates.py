"""Dates: one form throughout a column, days and months never guessed."""

import datetime as dt

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages._cells import Cells
from stages._dates import read_dates
from stages._errors import UserError

MOMENTS = st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 31))  # noqa: DTZ001  # naive, as columns are


def cells(values: list[str | None]) -> Cells:
    return Cells("t.csv", "a", pa.chunked_array([pa.array(values, pa.string())]), lambda row: f"line {row + 2}")


def dates(values: list[str | None]) -> list[str | None] | None:
    series = read_dates(cells(values))
    return None if series is None else [None if pd.isna(moment) else moment.isoformat() for moment in series]


FORMS = {
    "ISO": ("2013-12-31", "2013-12-31T00:00:00"),
    "ISO with a time": ("2013-12-31 23:59", "2013-12-31T23:59:00"),
    "ISO with a fraction": ("2013-12-31T23:59:01.5", "2013-12-31T23:59:01.500000"),
    "nanoseconds": ("2013-12-31T23:59:01.123456789", "2013-12-31T23:59:01.123456"),
    "UTC": ("2013-12-31T23:59:01Z", "2013-12-31T23:59:01"),
    "another zone": ("2013-12-31T23:59:01 +02:00", "2013-12-31T21:59:01"),
    "a zone in the west": ("2013-12-31T20:59:01-0330", "2014-01-01T00:29:01"),
    "slashes": ("2013/12/31", "2013-12-31T00:00:00"),
    "European": ("31.12.2013 07:05", "2013-12-31T07:05:00"),
    "British": ("31/12/2013", "2013-12-31T00:00:00"),
    "American": ("12/31/2013 1:05 PM", "2013-12-31T13:05:00"),
    "midnight": ("12/31/2013 12:05 a.m.", "2013-12-31T00:05:00"),
    "day and month's name": ("31 Dec 2013", "2013-12-31T00:00:00"),
    "month's name first": ("December 31st, 2013", "2013-12-31T00:00:00"),
    "leap day": ("2012-02-29", "2012-02-29T00:00:00"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_read(name: str) -> None:
    text, expected = FORMS[name]

    assert dates([text, None]) == [expected, None]


@pytest.mark.parametrize("form", ["%Y/%m/%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d %b %Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S"])
@given(moments=st.lists(MOMENTS, min_size=1, max_size=5))
def test_every_moment_is_read_back(form: str, moments: list[dt.datetime]) -> None:
    texts: list[str | None] = [moment.strftime(form) for moment in moments]

    assert dates(texts) == [moment.replace(microsecond=0).isoformat() for moment in moments]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2021-02-30", "2021-02-28"], "'2021-02-30' is no date of the calendar"),
        (["2021-02-28", "2021-02-28 24:00"], "'2021-02-28 24:00' is no date"),
        (["29 Feb 2021"], "is no date of the calendar"),
        (["31/12/2013", "12/31/2013"], "has day and month in another order"),
        (["01/02/2013", "03/04/2013"], "may be day/month or month/day"),
        (["2013-12-31", "31.12.2013", "31.12.2013"], "line 2, .*is not a date written as the other values are"),
        (["2013-12-31T10:00Z", "2013-12-31T10:00"], "time zone, unlike the other dates"),
        (["2013-12-31", "2013-12-30", "?"], "'\\?' is not a date"),
    ],
)
def test_a_date_that_cannot_be_known_is_refused(values: list[str | None], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        dates(values)


@pytest.mark.parametrize("values", [["12:30", "13:45"], ["1.2.3"], ["2013/2014"], ["May", "June"], ["red 2013-01-01"]])
def test_other_text_is_no_date(values: list[str | None]) -> None:
    assert dates(values) is None
