"""Find out what a column of text holds: the one reading that fits all its cells.

Where most cells fit a reading, the first that doesn't is reported. So are cells that look like
numbers or dates but nothing can calculate with: left as text, ``43.93 kg`` would become as many
categories as there are rows, or be taken for an identifier. Everything else is text.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import MARKS, SPACES, parse_boolean, parse_moment
from stages.params import DataParams
from stages.table.dates import as_dates, forms_to_try, read_iso_dates, report_dates_among_numbers, report_two_forms
from stages.table.findings import LEAVE_OUT, Cells
from stages.table.numbers import Numbers, are_codes, find_marked_numbers, find_plain_numbers, number_parser

_NO_VALUE = re.compile(
    r"[\W_]*|#?n\.?[/\\]?[ad]\.?|<na>|nan|nil|nul|null|none|miss|missing|unk|unknown|undefined|tbd|tba|not available"
    r"|no data|no value|blank|empty|#(?:value|ref|div/0|name|num|null)[!?]|[+-]?inf(?:inity)?",
    re.IGNORECASE,
)
"""What people write when there is no value: no letter and no digit, or one of these words."""
_STARTS_WITH_NUMBER = (
    r"(?i)^(?:[^\pL\pN]|[a-z]{0,2}\$|usd|eur|euros?|gbp|chf|jpy|cny|inr|sek|nok|dkk|pln|czk|brl|aud|cad|zar|mxn|rub|rs"
    r"|kr|fr|ca|circa|approx|about|around|pt?)*\.?\s*\pN"
)
_CODE = r"^\+?[0-9]+(?:[-.() ]+[0-9]+)+$|^\([0-9]+\)[-. 0-9]+$"
"""Groups of digits, as in telephone numbers, versions and addresses of computers."""
_RANGE = r"^(?:.*[<>≤≥].*[0-9].*|[0-9.,]+[kK]?\s*(?:\+|[-–—]|to)\s*(?:[0-9.,]+[kK]?)?(?:\s*\pL*)?|[(\[].*[,;].*[)\]])$"
"""A class of numbers such as ``3+``, ``>50``, ``18-25`` or ``(0, 10]``."""
_DATE = (
    r"(?i)^(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?(?:(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
    r"[a-z]*[-/. ,'’]*[0-9].*|(?:[0-9]{4}[-. ][0-9]{1,2}[-. ][0-9]{1,2}"
    r"|[0-9]{1,2}[-. ][0-9]{1,2}[-. ](?:[0-9]{4}|[0-9]{2}))(?:[T,\s].*)?|[0-9]{4}[-.][0-9]{1,3})$"
)
_DIGITS = "[0-9]+(?:[., '][0-9]+)*[.,]?"
_SAMPLE = 1000
_MOST_CLASSES = 200
_FEW = 20
_ROWS_OF_A_CATEGORY = 5
_TEXTS_OF_A_PATTERN = 3
_MOSTLY = 0.5
_MANY_TO_ONE = 5

Mask = npt.NDArray[np.bool_]


def read_column(cells: Cells, data: DataParams, dates: dict[str, str]) -> pd.Series | Numbers:
    """Return the column's values, or numbers that wait for the table's decimal mark.

    The form of dates, where it is not ISO 8601, is added to `dates`; problems go to ``cells.findings``.
    """
    if not cells.known:
        return pd.Series(np.full(len(cells.texts), np.nan), name=cells.name)
    by_column = isinstance(data.dates, dict) and cells.name in data.dates
    form = data.dates.get(cells.name) if isinstance(data.dates, dict) else data.dates
    as_set = None if form is None else _read_dates_as_set(cells, form, dates, must_fit=by_column)
    if as_set is not None:
        return as_set
    plain = find_plain_numbers(cells)
    if plain:
        is_text = (not by_column and report_dates_among_numbers(cells)) or are_codes(cells)
        return cells.as_text() if is_text else plain
    iso = read_iso_dates(cells)
    return _read_by_text(cells, data, dates) if iso is None else iso


def _read_dates_as_set(cells: Cells, form: str, dates: dict[str, str], *, must_fit: bool) -> pd.Series | None:
    moments, stray = cells.parse(partial(parse_moment, form=form))
    if stray is None:
        dates[cells.name] = form
        return as_dates(cells, moments)
    if not must_fit:
        return None
    cells.report(stray, f"is no date in the form {form}, which data.dates sets")
    return cells.as_text()


def _read_by_text(cells: Cells, data: DataParams, dates: dict[str, str]) -> pd.Series | Numbers:
    """Try the readings that go through Python, once for each different text."""
    numbers = find_marked_numbers(cells)
    if numbers:
        return numbers
    flags, stray = cells.parse(parse_boolean)
    if stray is None:
        values = cells.spread(flags, None, "object")
        return pd.Series(values, name=cells.name, dtype="boolean" if cells.texts.null_count else "bool")
    forms = forms_to_try(cells.distinct)
    tried = {form: cells.parse(partial(parse_moment, form=form)) for form in forms}
    longest = max((len(form) for form, (_, stray) in tried.items() if stray is None), default=0)
    fitting = {form: found for form, (found, stray) in tried.items() if stray is None and len(form) == longest}
    if len(fitting) == 1:
        form = next(iter(fitting))
        dates |= {} if form == "Ymd" else {cells.name: form}
        return as_dates(cells, fitting[form])
    if not _are_labels(cells, data):
        if fitting:
            report_two_forms(cells, fitting)
        else:
            _report_misfit(cells, forms)
    return cells.as_text()


def _are_labels(cells: Cells, data: DataParams) -> bool:
    """Return whether the column is the target and its texts recur, so that they are classes (``1 2 N/A``)."""
    if cells.name != data.target or data.task == "regression":
        return False
    return data.task == "classification" or len(cells.distinct) <= min(_MOST_CLASSES, cells.known // 2)


def _report_misfit(cells: Cells, forms: tuple[str, ...]) -> None:
    """Report the first cell that is not what most cells are, or is a number or date in a form nobody can read."""
    texts, counts = cells.distinct[:_SAMPLE], cells.counts.field("counts").to_numpy()[:_SAMPLE]
    readings: dict[str, Callable[[str], Any]] = {
        **{f"a number with the decimal mark {mark!r}": number_parser(mark) for mark in MARKS},
        "true or false": parse_boolean,
        **{f"a date in the form {form}": partial(parse_moment, form=form) for form in forms},
    }
    fits = {kind: np.array([_can(parse, text) for text in texts]) for kind, parse in readings.items()}
    few = len(cells.distinct) <= _FEW and counts.sum() >= _ROWS_OF_A_CATEGORY * len(texts) and counts.min() > 1
    kind = max(fits, key=lambda kind: counts[fits[kind]].sum())
    categories = few and not kind.startswith("a date") and not any(map(_NO_VALUE.fullmatch, texts))
    if _are_most(fits[kind], counts) and not categories:
        cells.report(cells.parse(readings[kind])[1] or "", f"is not {kind}, as the other values are")
        return
    known = np.logical_or.reduce(list(fits.values()))
    unreadable = _find_unreadable(cells.counts.field("values")[:_SAMPLE], few=few) & ~known
    if unreadable.any() and _are_most(unreadable | known, counts):
        problem = "is a number or date in a form that nothing can calculate with"
        remedy = f"write numbers without a unit and dates as 2013-12-31, set data.dates by column, or {LEAVE_OUT}"
        cells.report(texts[int(unreadable.argmax())], problem, remedy)


def _can(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _are_most(mask: Mask, counts: npt.NDArray[np.int64]) -> bool:
    most_rows = counts[mask].sum() >= _MOSTLY * counts.sum()
    return bool(mask.any() and (most_rows or mask.sum() >= _MANY_TO_ONE * (~mask).sum()))


def _find_unreadable(texts: pa.Array, *, few: bool) -> Mask:
    """Mark numbers with a unit, sign or other mark, times of day, and dates in other forms than `service.cells` reads.

    A text with letters is only one where many texts differ in their numbers alone, as in ``5 kg`` and ``3h 20m``.
    """
    texts = pc.replace_substring(pc.replace_substring_regex(texts, SPACES, " "), "’", "'")
    dates = _match(texts, _DATE)
    quantities = _match(texts, _STARTS_WITH_NUMBER) & ~_match(texts, _CODE)
    if few:
        quantities &= ~_match(texts, _RANGE)
    with_letters = quantities & _match(texts, r"\pL") & ~_match(texts, "(?i)^0x[0-9a-f]+$")
    patterns = pc.replace_substring_regex(texts.filter(pa.array(with_letters)), _DIGITS, "0")
    if _TEXTS_OF_A_PATTERN * len(pc.unique(patterns)) > len(patterns):
        quantities &= ~with_letters
    unreadable: Mask = dates | quantities
    return unreadable


def _match(texts: pa.Array, pattern: str) -> Any:
    return pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
