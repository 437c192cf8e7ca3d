"""Find the type of a column of text: the one that fits all its cells.

It is reported if two types fit, or if the first cell that does not fit differs from most others.
Cells that start with a number but are no numbers are reported too: as text, ``43.93 kg`` would give
as many categories as rows, or look like an identifier. All other columns are text.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.cells import parse_boolean, parse_moment
from stages.params.sections import DataParams
from stages.table.dates import (
    as_dates,
    forms_to_try,
    parse_dates,
    read_iso_dates,
    report_dates_among_numbers,
    report_two_forms,
)
from stages.table.findings import LEAVE_OUT, Cells
from stages.table.numbers import MARKS, Numbers, are_codes, find_marked_numbers, find_plain_numbers, number_parser

_NO_VALUE = re.compile(
    r"[\W_]*|#?n\.?[/\\]?[ad]\.?|<na>|nan|nil|nul|null|none|miss|missing|unk|unknown|undefined|tbd|tba|not available"
    r"|no data|no value|blank|empty|#(?:value|ref|div/0|name|num|null)[!?]|[+-]?inf(?:inity)?",
    re.IGNORECASE,
)
"""Texts for a missing value: without letters and digits, or one of these words."""
_MONTH = r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_NUMBER_OR_DATE = re.compile(
    r"(?:[^\w]|_|[a-z]{0,2}\$|usd|eur|gbp|chf|jpy|cny|inr|sek|nok|dkk|rs|kr|ca|approx|about|pt?)*\d"
    rf"|(?:[a-z]{{3,9}},?\s+)?{_MONTH}\W*\d",
    re.IGNORECASE,
)
"""The start of a number with a sign, currency or unit, of a time, or of a date in any form."""
_RANGE = re.compile(r"[<>≤≥+]|\d\s*(?:[-–—]|to)\s*\d|[(\[].*[,;].*[)\]]")
"""A class of numbers such as ``3+``, ``>50``, ``18-25`` or ``(0, 10]``."""
_CODE = re.compile(r"(?!.*\b(?:19|20)\d\d\b)[+(]?\d+(?:[-.() ]+\d+){2,}")
"""Groups of digits without a year, as in telephone numbers, versions and IP addresses."""
_MOST_CLASSES = 200
_FEW = 20
_ROWS_OF_A_CATEGORY = 5
_TEXTS_OF_A_PATTERN = 3
_MOSTLY = 0.5
_MANY_TO_ONE = 5

Mask = npt.NDArray[np.bool_]


def read_column(cells: Cells, data: DataParams, dates: dict[str, str]) -> pd.Series | Numbers:
    """Return the column's values, or `Numbers` until the table's decimal mark is known.

    A form of dates other than ISO 8601 is added to `dates`; problems go to ``cells.findings``.
    """
    if not cells.known:
        return pd.Series(np.full(len(cells.texts), np.nan), name=cells.name)
    by_column = isinstance(data.dates, dict) and cells.name in data.dates
    form = data.dates.get(cells.name) if isinstance(data.dates, dict) else data.dates
    if form is not None:
        moments, stray = parse_dates(cells, form)
        if stray is None:
            dates[cells.name] = form
            return as_dates(cells, moments)
        if by_column:
            cells.report(stray, f"is no date in the form {form}, which data.dates sets")
            return cells.as_text()
    plain = find_plain_numbers(cells)
    if plain:
        is_text = (not by_column and report_dates_among_numbers(cells)) or are_codes(cells)
        return cells.as_text() if is_text else plain
    iso = read_iso_dates(cells)
    return _read_by_text(cells, data, dates) if iso is None else iso


def _read_by_text(cells: Cells, data: DataParams, dates: dict[str, str]) -> pd.Series | Numbers:
    """Try the types that are parsed in Python, once for each different text."""
    numbers = find_marked_numbers(cells)
    if numbers:
        return numbers
    flags, stray = cells.parse(parse_boolean, -1, np.int8)
    if stray is None:
        values = pd.arrays.BooleanArray(flags == 1, flags < 0)
        return pd.Series(values, name=cells.name, dtype="boolean" if cells.texts.null_count else "bool")
    forms = forms_to_try(cells.counts)
    tried = {form: parse_dates(cells, form) for form in forms}
    longest = max((len(form) for form, (_, stray) in tried.items() if stray is None), default=0)
    fitting = {form: found for form, (found, stray) in tried.items() if stray is None and len(form) == longest}
    if len(fitting) == 1:
        form = next(iter(fitting))
        dates |= {} if form == "Ymd" else {cells.name: form}
        return as_dates(cells, fitting[form])
    recur = len(cells.counts) <= min(_MOST_CLASSES, cells.known // 2)
    are_labels = cells.name == data.target and (data.task == "classification" or (recur and data.task == "auto"))
    if fitting and not are_labels:
        report_two_forms(cells, fitting)
    elif not are_labels:
        _report_misfit(cells, forms)
    return cells.as_text()


def _report_misfit(cells: Cells, forms: Iterable[str]) -> None:
    """Report the first cell that differs in type from most cells, or starts with a number if most do."""
    texts, counts = list(cells.counts), np.array(list(cells.counts.values()))
    readings: dict[str, Callable[[str], Any]] = {
        **{f"a number with the decimal mark {mark!r}": number_parser(mark) for mark in MARKS},
        "true or false": parse_boolean,
        **{f"a date in the form {form}": partial(parse_moment, form=form) for form in forms},
    }
    fits = {kind: np.array([_parses(parse, text) for text in texts]) for kind, parse in readings.items()}
    few = len(texts) <= _FEW and counts.sum() >= _ROWS_OF_A_CATEGORY * len(texts) and counts.min() > 1
    kind = max(fits, key=lambda kind: counts[fits[kind]].sum())
    are_categories = few and not kind.startswith("a date") and not any(map(_NO_VALUE.fullmatch, texts))
    if _are_most(fits[kind], counts) and not are_categories:
        cells.report(cells.parse(readings[kind], None, object)[1] or "", f"is not {kind}, as the other values are")
        return
    known = np.logical_or.reduce(list(fits.values()))
    unreadable = _without_words(np.array([_is_unreadable(text, few=few) for text in texts]) & ~known, texts)
    if unreadable.any() and _are_most(unreadable | known, counts):
        problem = "is a number, time or date in a form that cannot be parsed"
        remedy = f"write numbers without a unit, dates as 2013-12-31, or set data.dates by column, or {LEAVE_OUT}"
        cells.report(texts[int(unreadable.argmax())], problem, remedy)


def _is_unreadable(text: str, *, few: bool) -> bool:
    is_text = _CODE.fullmatch(text) or (few and _RANGE.search(text))
    return _NUMBER_OR_DATE.match(text) is not None and not is_text


def _without_words(marked: Mask, texts: list[str]) -> Mask:
    """Unmark texts with letters, unless they name a month or many differ only in their numbers, as ``5 kg``."""
    letters = [re.search(r"[^\W\d_]", text) and not re.search(_MONTH, text, re.IGNORECASE) for text in texts]
    with_letters = marked & np.array(letters, dtype=bool)
    patterns = {re.sub(r"\d[\d.,' ]*", "0", text) for text, each in zip(texts, with_letters, strict=True) if each}
    return marked & ~with_letters if _TEXTS_OF_A_PATTERN * len(patterns) > with_letters.sum() else marked


def _parses(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _are_most(mask: Mask, counts: npt.NDArray[np.int64]) -> bool:
    most_rows = counts[mask].sum() >= _MOSTLY * counts.sum()
    return bool(mask.any() and (most_rows or mask.sum() >= _MANY_TO_ONE * (~mask).sum()))
