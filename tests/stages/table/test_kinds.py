"""Kinds of cells that people write: each is read right, or reported with what to do, never silently lost."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

Load = Callable[..., "pd.Series[Any]"]
Read = Callable[..., pd.DataFrame]
Refuse = Callable[..., str]
ROWS = 60
MOMENTS = [dt.datetime(2012, 11, 20, 9, 7) + dt.timedelta(days=5 * row, hours=row) for row in range(ROWS)]  # noqa: DTZ001


def write(texts: list[str], others: str = "") -> str:
    """Write texts as column `a`, each in quotes."""
    rows = [f'"{text.replace(chr(34), chr(34) * 2)}";{others};{row % 2}' for row, text in enumerate(texts)]
    return "\n".join(["a;other;y", *rows, ""])


@pytest.fixture
def load(read: Read) -> Load:
    """Return a function that reads texts as column `a` of a CSV file."""
    return lambda texts, others="", **data: read(write(texts, others), **data)["a"]


def amounts(form: str, swap: str = "") -> list[str]:
    """Write 12.5, 1247.5, 2482.5, … with a comma between thousands, then other marks for ``,.``."""
    texts = [form.format(12.5 + 1235 * row) for row in range(ROWS)]
    return [text.translate(str.maketrans(",.", swap)) if swap else text for text in texts]


READ = {
    "plain": amounts("{}"),
    "comma and point": amounts("{:,.2f}"),
    "point and comma": amounts("{:,.2f}", ".,"),
    "a plain space": amounts("{:,.2f}", " ."),
    "a no-break space": amounts("{:,.2f}", "\u00a0,"),
    "a narrow no-break space": amounts("{:,.2f}", "\u202f,"),
    "a thin space": amounts("{:,.2f}", "\u2009."),
    "an apostrophe": amounts("{:,.2f}", "'."),
    "a typographic apostrophe": amounts("{:,.2f}", "’."),
    "exponents": amounts("{:.6e}"),
}
DISGUISED = {
    "a unit": amounts("{:.2f} kg"),
    "units of many kinds": [f"{row} {['kg', 'g', 'lb', 'oz'][row % 4]}" for row in range(ROWS)],
    "a suffix": amounts("{:.2f}M"),
    "a suffix in some": [f"{row}k" if row % 3 else f"{row}" for row in range(ROWS)],
    "a suffix beside words": [f"{row}M" if row % 2 else "Varies with device" for row in range(ROWS)],
    "per cent": amounts("{:.2f} %"),
    "a currency before": amounts("${:,.2f}"),
    "a currency's code before": amounts("EUR {:.2f}"),
    "brackets for minus": [f"({row}.5)" if row % 2 else f"{row}.5" for row in range(ROWS)],
    "a minus behind": [f"{row}.5-" if row % 2 else f"{row}.5" for row in range(ROWS)],
    "a typographic minus": [f"−{row}" if row % 2 else f"{row}" for row in range(ROWS)],
    "Indian groups": ["1,23,456.5"] * ROWS,
    "underscores": [f"{row}_000" for row in range(ROWS)],
    "about": amounts("~{:.1f}"),
    "a footnote's star": [f"{row}*" if row % 4 == 0 else f"{row}" for row in range(ROWS)],
    "bounds among measurements": [f"<{row}.1" if row % 5 == 0 else f"{row}.1" for row in range(ROWS)],
    "minutes and seconds": [f"{row:02}:31" for row in range(ROWS)],
    "hours, minutes and seconds": [f"{row:02}:31:07" for row in range(ROWS)],
    "hours in letters": [f"{row}h 20m" for row in range(ROWS)],
    "ISO 8601 durations": [f"PT{row}M" for row in range(ROWS)],
    "fractions": [f"{row}/7" for row in range(1, ROWS)],
    "mixed fractions": [f"{row} 1/2" for row in range(ROWS)],
    "two numbers": [f"{row}.5, {row}.25" for row in range(ROWS)],
    "ranges": [f"{row * 5}-{row * 5 + 5}" for row in range(ROWS)],
    "feet and inches": [f"{row % 3 + 4}'{row % 12}\"" for row in range(ROWS)],
    "degrees": [f"{row}°{row}'N" for row in range(ROWS)],
    "Arabic digits": [chr(0x661 + row % 9) * (row % 5 + 1) for row in range(ROWS)],
}
WORDS = {
    "codes": [f"SKU{row}" for row in range(ROWS)],
    "names": [f"Smith, John {row}" for row in range(ROWS)],
    "telephone numbers": [f"+47 22 {row:02} {row + 3:02}" for row in range(ROWS)],
    "addresses of computers": [f"10.0.{row}.{row + 2}" for row in range(ROWS)],
    "versions": [f"1.{row}.0" for row in range(ROWS)],
    "postcodes": [f"{row * 97:05}" for row in range(ROWS)],
    "hashes": [f"{row**9:016x}" for row in range(1, ROWS)],
    "number plates": [f"{row:02}-{chr(65 + row % 26)}{chr(65 + row * 7 % 26)}-{row:02}" for row in range(ROWS)],
    "ages": ["18-25", "26-35", "36+"] * 20,
    "incomes": ["<=50K", ">50K"] * 30,
    "children": ["0", "1", "2", "3+"] * 15,
    "classes": ["1st", "2nd", "3rd"] * 20,
    "drives": ["4WD", "2WD"] * 30,
    "intervals": ["(0, 10]", "(10, 20]"] * 30,
    "a rare number": ["yes", "no", "5"] * 20,
    "codes with letters": ["250.8", "V57", "E909", "401"] * 15,
    "a mark among words": ["red", "?", "blue"] * 20,
}
FORMS = {
    "%m/%d/%y": "%Y-%m-%d",
    "%m/%d/%Y": "%Y-%m-%d",
    "%d/%m/%Y": "%Y-%m-%d",
    "%d.%m.%Y": "%Y-%m-%d",
    "%Y/%m/%d": "%Y-%m-%d",
    "%d-%b-%y": "%Y-%m-%d",
    "%d%b%Y": "%Y-%m-%d",
    "%B %d, %Y": "%Y-%m-%d",
    "%b %Y": "%Y-%m-01",
    "%m/%Y": "%Y-%m-01",
    "%Y-%m": "%Y-%m-01",
    "%Y/%m": "%Y-%m-01",
    "%m/%d/%Y %I:%M %p": "%Y-%m-%d %H:%M",
    "%Y%m%dT%H%M%S": "%Y-%m-%d %H:%M",
    "%a, %d %b %Y %H:%M:%S +0000": "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%MZ": "%Y-%m-%d %H:%M",
}
UNCLEAR = {
    "%d.%m.%y": ("may be 2012-11-20 (dmy) or 2020-11-12 (ymd)", "dmy"),
    "%Y%m%d": ("may be a number or the date 2012-11-20", "%Y%m%d"),
    "%Y%m": ("may be a number or the date 2012-11-01", "%Y%m"),
    "%y%m%d": ("may be a number or the date 2012-11-20", "%y%m%d"),
    "%Y.%m": ("may be a number or the date 2012-11-01", "%Y.%m"),
    "%b-%y": ("may be 2012-11-01 (my) or 2000-11-12 (md)", "my"),
    "%y-%b": ("may be 2012-11-01 (ym) or 2000-11-12 (dm)", "ym"),
    "%H:%M %d/%m/%Y": ("is a number, time or date in a form that cannot be parsed", "%H:%M %d/%m/%Y"),
    "%a %b %d %H:%M:%S %Y": ("is a number, time or date in a form", "%a %b %d %H:%M:%S %Y"),
    "%d.%m.%Y %H.%M": ("is a number, time or date in a form", "%d.%m.%Y %H.%M"),
    "%Y-%m-%d %H:%M IST": ("is a number, time or date in a form", "%Y-%m-%d %H:%M IST"),
}


CELLS: dict[str, tuple[list[str], list[Any]]] = {
    "whole numbers": (["1", "+2", "-3"], [1, 2, -3]),
    "years": (["1999", "2013"], [1999, 2013]),
    "fractions": (["1.0", ".5", "2e3"], [1.0, 0.5, 2000.0]),
    "blanks around": ([" 1 ", "2\u00a0", "\t3"], [1, 2, 3]),
    "truth values": (["True", "FALSE", "true"], [True, False, True]),
    "yes and no": (["yes", "no", "yes"], ["yes", "no", "yes"]),
    "one number with a zero before it": (["05"] + ["123"] * 30, [5] + [123] * 30),
    "hexadecimal": (["0x1f", "1e5a", "beef"], ["0x1f", "1e5a", "beef"]),
    "text with one number": (["red", "green", "5"], ["red", "green", "5"]),
    "a decimal comma": (["12,5", "7"], [12.5, 7.0]),
    "midnight at 24 o'clock": (
        ["2013-12-31 24:00", "2013-12-31 12:00"],
        [pd.Timestamp(2014, 1, 1), pd.Timestamp(2013, 12, 31, 12)],
    ),
    **{
        f"the zone {zone}": ([f"2013-07-01 10:00 {zone}"], [pd.Timestamp("2013-07-01 09:00")])
        for zone in ("CET", "+01:00", "+0100", "+01")
    },
}


@pytest.mark.parametrize("name", CELLS)
def test_cells_are_read_as_what_all_of_them_are(load: Load, name: str) -> None:
    cells, expected = CELLS[name]

    assert load(cells).tolist() == expected


@pytest.mark.parametrize("name", READ)
def test_a_number_is_read_whatever_its_marks(load: Load, name: str) -> None:
    assert load(READ[name]).tolist() == [12.5 + 1235 * row for row in range(ROWS)]


@pytest.mark.parametrize("name", DISGUISED)
def test_a_number_that_nothing_can_calculate_with_is_reported(load: Load, refuse: Refuse, name: str) -> None:
    found = refuse(write(DISGUISED[name]))

    assert "column 'a': " in found
    assert "data.categorical or data." in found
    assert "\n" not in found
    assert load(DISGUISED[name], categorical=["a"]).tolist() == DISGUISED[name]


@pytest.mark.parametrize("name", WORDS)
def test_words_and_codes_stay_text(load: Load, name: str) -> None:
    assert load(WORDS[name]).tolist() == WORDS[name]


@pytest.mark.parametrize("form", FORMS)
def test_a_date_is_read_where_the_column_proves_its_form(load: Load, form: str) -> None:
    expected = [pd.Timestamp(moment.strftime(FORMS[form])) for moment in MOMENTS]

    assert load([moment.strftime(form) for moment in MOMENTS]).tolist() == expected


@pytest.mark.parametrize("form", UNCLEAR)
def test_an_unclear_date_is_reported_and_data_dates_settles_it(load: Load, refuse: Refuse, form: str) -> None:
    expected, setting = UNCLEAR[form]
    texts = [moment.strftime(form) for moment in MOMENTS]

    assert f"column 'a': {texts[0]!r} {expected}" in refuse(write(texts))
    if "IST" not in form:
        assert load(texts, dates={"a": setting}).dt.year.tolist() == [moment.year for moment in MOMENTS]


def test_whole_numbers_that_are_dates_too_can_be_set_to_be_numbers(load: Load) -> None:
    texts = [moment.strftime("%Y%m%d") for moment in MOMENTS]

    assert load(texts, dates={"a": None}).tolist() == [int(text) for text in texts]


def test_one_form_can_be_set_for_all_columns(load: Load) -> None:
    found = load(["01.02.13", "03.02.13"], others="5", dates="dmy")

    assert found.tolist() == [pd.Timestamp("2013-02-01"), pd.Timestamp("2013-02-03")]


@pytest.mark.parametrize(("others", "expected"), [("52,51", 50416), ("52.51", 50.416), ("1.234.567", 50416)])
def test_a_decimal_mark_in_one_column_holds_for_all(load: Load, others: str, expected: float) -> None:
    assert load(["50.416", "25.073"], others)[0] == expected


def test_an_ambiguous_decimal_mark_is_reported_with_both_readings(load: Load, refuse: Refuse) -> None:
    texts = ["50.416", "25.073"]

    assert "'50.416' may be 50.416 or 50416: no column shows" in refuse(write(texts, "7"))
    assert load(texts, "7", decimal=",").tolist() == [50416, 25073]
    assert load(texts, "7", decimal=".").tolist() == [50.416, 25.073]


def test_two_decimal_marks_in_one_table_are_reported(refuse: Refuse) -> None:
    found = refuse(write(["0.5", "0.25"], "52,51"))

    assert "'0.5' has a decimal point, but '52,51' in column 'other' has a decimal comma" in found


def test_a_number_against_data_decimal_is_reported(refuse: Refuse) -> None:
    assert "'0,5' is no number with data.decimal '.'" in refuse(write(["0,5", "2,75"]), decimal=".")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1.5", "2.5", "0,5"], "'0,5' is not a number with the decimal mark '.'"),
        (["31/12/2013", "12/31/2013"], "is not a date in the form"),
        (["01/02/2013", "03/04/2013"], "may be 2013-02-01 (dmY) or 2013-01-02 (mdY)"),
        (["05/05/2013"] * 2, "may be 2013-05-05 (dmY) or 2013-05-05 (mdY), and no cell shows which"),
        (["2013-12-31", "31.12.2013", "31.12.2013"], "is not a date in the form dmY"),
        (["2021-02-28", "2021-02-30"], "'2021-02-30' is not a date in the form Ymd"),
        (["2020-01-01", "2020-01-02", "soon"] * 9, "'soon' is not a date in the form Ymd"),
        ([f"{row}.0" for row in range(9)] + ["?"], "'?' is not a number"),
        (["1", "2", "?"] * 20, "'?' is not a number"),
        (["NN"] * 40 + [f"{row}.5" for row in range(20)], "'NN' is not a number"),
        ([str(row) for row in range(50)] + [f"V{row}" for row in range(9)], "'V0' is not a number"),
        (["true", "false", "?"], "'?' is not true or false"),
    ],
)
def test_a_cell_of_another_kind_is_reported(refuse: Refuse, texts: list[str], expected: str) -> None:
    assert expected in refuse(write(texts))


@pytest.mark.parametrize(
    "labels", [["1", "2", "N/A"], ["0", "1", "3+"], ["是", "否", "да"], ["2020-01-01", "soon", "5"]]
)
def test_labels_of_any_kind_are_classes(read: Read, labels: list[str]) -> None:
    frame = read("a,y\n" + "".join(f"{place},{label}\n" for place, label in enumerate(labels * 9)))

    assert frame["y"].tolist() == labels * 9


def test_a_column_without_values_is_all_missing(load: Load) -> None:
    assert load(["", "NA"]).isna().all()


def test_times_are_in_utc_and_gaps_are_missing(load: Load) -> None:
    found = load(["2020-01-31T10:00:00+02:00", ""])

    assert found.dtype == "datetime64[us]"
    assert found.iloc[0] == pd.Timestamp("2020-01-31 08:00")
    assert found.isna().tolist() == [False, True]
