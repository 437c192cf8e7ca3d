"""One cell, one value: every spelling a table may have."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cells import Reading, parse_boolean, parse_date, parse_number, parser
from service.contract import Contract

MOMENTS = st.datetimes(dt.datetime(1000, 1, 1))  # noqa: DTZ001  # naive; strftime pads no year below 1000

NUMBERS = {
    "plain": ("12.5", ".", "", 12.5),
    "signs and exponents": ("-1.5e3", ".", "", -1500.0),
    "no digit before the point": (".5", ".", "", 0.5),
    "a decimal comma": ("12,5", ",", "", 12.5),
    "thousands by comma": ("1,234,567.5", ".", ",", 1234567.5),
    "thousands by point": ("1.234,5", ",", ".", 1234.5),
    "thousands by a no-break space": ("8\u00a0132,34", ",", " ", 8132.34),
    "thousands by a narrow no-break space": ("8\u202f132,34", ",", " ", 8132.34),
    "thousands by a thin space": ("8\u2009132.34", ".", " ", 8132.34),
    "thousands by an apostrophe": ("1’234.5", ".", "'", 1234.5),
}
NO_NUMBERS = ["", "nan", "inf", "1_000", "1,234", "1 234", "5 kg", "1e39", "1e400", "١", "0x1f", "1.2.3", "−", "--1"]
DATES = {
    "ISO": ("2013-12-31", "Ymd", "2013-12-31T00:00:00"),
    "ISO with a time": ("2013-12-31T23:59", "Ymd", "2013-12-31T23:59:00"),
    "compact": ("20230101T152700", "Ymd", "2023-01-01T15:27:00"),
    "a month": ("2013-12", "Ymd", "2013-12-01T00:00:00"),
    "nanoseconds": ("2013-12-31T23:59:01.123456789", "Ymd", "2013-12-31T23:59:01.123456"),
    "the last midnight": ("2013-12-31 24:00", "Ymd", "2014-01-01T00:00:00"),
    "the last moment": ("9999-12-31T23:59:59.999999", "Ymd", "9999-12-31T23:59:59.999999"),
    "UTC": ("2013-12-31T23:59:01Z", "Ymd", "2013-12-31T23:59:01"),
    "an offset": ("2023-01-01 16:27:00+0100", "Ymd", "2023-01-01T15:27:00"),
    "an offset in the west": ("2013-12-31T20:59:01-03:30", "Ymd", "2014-01-01T00:29:01"),
    "CET, in summer too": ("2023-07-01 15:27:00 CET", "Ymd", "2023-07-01T14:27:00"),
    "EST, in summer too": ("2023-07-01 15:27:00 EST", "Ymd", "2023-07-01T20:27:00"),
    "dots": ("31.12.2013 07:05", "dmY", "2013-12-31T07:05:00"),
    "AM and PM": ("12/31/2013 1:05 PM", "mdY", "2013-12-31T13:05:00"),
    "midnight": ("12/31/2013 12:05 a.m.", "mdY", "2013-12-31T00:05:00"),
    "two digits of 2068": ("12/31/68", "mdy", "2068-12-31T00:00:00"),
    "two digits of 1969": ("12/31/69", "mdy", "1969-12-31T00:00:00"),
    "a month's name": ("01-Jan-23", "dmy", "2023-01-01T00:00:00"),
    "a month's name without marks": ("01JAN2023", "dmY", "2023-01-01T00:00:00"),
    "a month's full name": ("December 31st, 2013", "mdY", "2013-12-31T00:00:00"),
    "e-mail": ("Sun, 01 Jan 2023 15:27:00 +0000", "dmY", "2023-01-01T15:27:00"),
    "a month of a year": ("Jan-23", "my", "2023-01-01T00:00:00"),
    "a day of a month": ("Jan-23", "md", "2000-01-23T00:00:00"),
    "a format with a zone": ("Tue Nov 20 09:07:00 CET 2012", "%a %b %d %H:%M:%S %Z %Y", "2012-11-20T08:07:00"),
    "a format without a year": ("29 Feb", "%d %b", "2000-02-29T00:00:00"),
    "a format": ("31/12/13 at 10:00", "%d/%m/%y at %H:%M", "2013-12-31T10:00:00"),
}
NO_DATES = [
    ("2021-02-30", "Ymd"),
    ("12/31/2013", "dmY"),
    ("2013-12-31", "dmY"),
    ("13-12-31", "Ymd"),
    ("0000-01-01", "Ymd"),
    ("10000-01-01", "Ymd"),
    ("9999-12-31 24:00", "Ymd"),
    ("2013-12-31 25:00", "Ymd"),
    ("2013-12-31 13:00 PM", "Ymd"),
    ("2013-12-31 10:00 IST", "Ymd"),
    ("2013-12-31 10:00+24:00", "Ymd"),
    ("31 Foo 2013", "dmY"),
    ("2012-11-20 IST", "%Y-%m-%d %Z"),
    ("0001-01-01 +0200", "%Y-%m-%d %z"),
    ("2013-12-31 24:01", "Ymd"),
    ("soon", "Ymd"),
    ("", "Ymd"),
]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_read_by_the_marks_of_its_table(name: str) -> None:
    text, decimal, thousands, expected = NUMBERS[name]

    assert parse_number(text, decimal, thousands) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        parse_number(text)


@given(st.floats(-3e38, 3e38))
def test_a_number_keeps_every_digit(number: float) -> None:
    assert parse_number(repr(number)) == number


@pytest.mark.parametrize("name", DATES)
def test_a_date_is_read_by_the_form_of_its_column(name: str) -> None:
    text, form, expected = DATES[name]

    assert parse_date(text, form).isoformat() == expected


@pytest.mark.parametrize(("text", "form"), NO_DATES)
def test_what_is_no_date_of_the_form_is_refused(text: str, form: str) -> None:
    with pytest.raises(ValueError):
        parse_date(text, form)


@given(MOMENTS, st.sampled_from(["%Y-%m-%d %H:%M:%S.%f", "%d/%m/%Y %I:%M:%S.%f %p", "%b %d %Y %H:%M:%S.%f"]))
def test_a_format_reads_what_strftime_writes(moment: dt.datetime, form: str) -> None:
    assert parse_date(moment.strftime(form), form) == moment


def test_truth_values_are_read_in_any_case() -> None:
    for truth, texts in ((True, ("True", "TRUE", "1", "1.0")), (False, ("FALSE", "false", "0", "0.0"))):
        assert [parse_boolean(text) for text in texts] == [truth] * 4
    for text in ("yes", "2", "1.5"):
        with pytest.raises(ValueError, match="expected true or false"):
            parse_boolean(text)


def test_missing_texts_are_those_of_the_column_or_of_all() -> None:
    reading = Reading(missing={"*": ("NA", " ? "), "country": ()})

    assert parser("category", "income", reading)(" ? ") is None
    assert parser("category", "income", reading)("") is None
    assert parser("category", "country", reading)("NA") == "NA"
    assert parser("category", "country", reading)("") is None


def test_a_date_is_read_by_its_tables_form_and_in_iso_8601() -> None:
    read = parser("date", "day", Reading(dates={"day": "dmY"}))
    assert read("05.03.2023") == read("2023-03-05") == read("2023-03-05T00:00:00") == parse_date("2023-03-05")
    with pytest.raises(ValueError, match="in the form dmY"):
        read("2023-13-05")


def test_a_contract_of_version_1_has_the_rules_of_its_time() -> None:
    old = {"version": 1, "task": "regression", "target": "y", "classes": [], "features": []}

    assert Contract.model_validate(old).reading == Reading()
