"""Notice numbers, times and dates that are written so that nothing can calculate with them.

Left as text, a column of ``43.93 kg`` would become as many categories as it has rows, or be taken
for an identifier: a loss that nobody notices.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import MARKS, SPACES, number_pattern
from stages.table.findings import CORRECT, LEAVE_OUT

_DIGITS = "[0-9]+(?:[., '][0-9]+)*[.,]?"
_NUMBER = f"^(?:{number_pattern('.', MARKS['.'])}|{number_pattern(',', MARKS[','])})$"
_TRUTH = "(?i)^(?:true|false)$"
_STAND_IN = (
    r"(?i)^(?:[^\pL\pN]*|#?n\.?[/\\]?[ad]\.?|<na>|nan|nil|nul|null|none|miss|missing|unk|unknown"
    r"|undefined|undef|unspecified|tbd|tba|not available|not applicable|no data|no value|blank|empty"
    r"|#(?:value|ref|div/0|name|num|null)[!?]|[+-]?inf(?:inity)?)$"
)
"""What people write when there is no value: no letter and no digit, or one of these words."""
_MONTH = "(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(?:[a-z]{3,6})?"
_MONTH_AND_NUMBER = rf"(?i)^(?:{_MONTH}[-/. '’]+[0-9]{{1,2}}|[0-9]{{1,2}}[-/. ]+{_MONTH})$"
_DATE = (
    r"(?i)^(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?(?:"
    rf"{_MONTH}[-/. ,'’]*[0-9].*|[0-9]{{1,2}}[-/. ]+{_MONTH}"
    r"|(?:[0-9]{4}[-. ][0-9]{1,2}[-. ][0-9]{1,2}|[0-9]{1,2}[-. ][0-9]{1,2}[-. ](?:[0-9]{4}|[0-9]{2}))(?:[T,\s].*)?"
    r"|[0-9]{4}[-.][0-9]{1,3}|[0-9]{1,2}-[0-9]{4})$"
)
"""Dates that do not look like numbers with a unit, whether `service.cells.parse_date` knows their form or not."""
_RANGE = r"^(?:.*[<>≤≥].*[0-9].*|[0-9.,]+[kK]?\s*(?:\+|[-–—]|to)\s*(?:[0-9.,]+[kK]?)?(?:\s*\pL*)?|[(\[].*[,;].*[)\]])$"
"""A class of numbers such as ``3+``, ``>50``, ``18-25`` or ``(0, 10]``."""
_CODE = r"^\+?[0-9]+(?:[-.() ]+[0-9]+)+$|^\([0-9]+\)[-. 0-9]+$"
"""Groups of digits, as in telephone numbers, versions and addresses of computers."""
_STARTS_WITH_NUMBER = (
    r"(?i)^(?:[^\pL\pN]|(?:us|ca|au|nz|hk|s|r)?\$|usd|eur|euros?|gbp|chf|jpy|cny|inr|sek|nok|dkk|pln|czk|brl|aud|cad|nzd"
    r"|zar|mxn|rub|rs|kr|fr|ca|circa|approx|about|around|pt?)*\.?\s*\pN"
)

_PATTERNS = {"truth": _TRUTH, "number": _NUMBER, "stand-in": _STAND_IN, "date": _DATE, "range": _RANGE, "code": _CODE}

_FEW = 20
_ROWS_OF_A_CATEGORY = 5
_MANY_TO_ONE = 5
_TEXTS_OF_A_PATTERN = 3
_MOSTLY = 0.5
_SOME = 0.1

Mask = npt.NDArray[np.bool_]


Disguise = tuple[str, str, str]
"""A text of the column, what is wrong with it, and what to do."""


def find_disguise(texts: pa.Array, counts: npt.NDArray[np.int64]) -> Disguise | None:
    """Return the first text that shows that the column is of numbers or dates in disguise, None for plain text.

    `texts` are the different texts of the column, `counts` how many rows have each. Plain text is
    a column that is mostly words, or that has few different texts which recur (``0 1 2 3+``).
    """
    rows = int(counts.sum())
    telling = _match(texts, r"\pN") | _match(texts, _TRUTH)
    if counts[telling].sum() < _SOME * rows:
        return None
    kinds = _classify(pc.replace_substring(pc.replace_substring_regex(texts, SPACES, " "), "’", "'"))
    value = kinds["number"] | kinds["decorated"] | kinds["date"]
    other = kinds["word"] | kinds["range"] | (kinds["truth"] if value.any() else kinds["truth"] & value)
    if not other.any() and (value.any() or kinds["truth"].any()):
        return _explain(texts, counts, kinds)
    mostly = counts[value].sum() >= _MOSTLY * rows or value.sum() >= _MANY_TO_ONE * other.sum()
    recur = len(texts) <= _FEW and rows >= _ROWS_OF_A_CATEGORY * len(texts) and counts.min() > 1
    categories = recur and not kinds["decorated"].any()
    if categories or not (mostly and value.any()):
        return None
    kinds["stand-in"] |= other
    return _explain(texts, counts, kinds)


def _explain(texts: pa.Array, counts: npt.NDArray[np.int64], kinds: dict[str, Mask]) -> Disguise:
    if kinds["decorated"].any():
        problem = "is a number or a time with a unit, sign or other mark, which nothing can calculate with"
        remedy = f"write plain numbers (the unit belongs in the column's name), or {LEAVE_OUT}"
        return _first(texts, kinds["decorated"]), problem, remedy
    either = kinds["date"] & _match(texts, _MONTH_AND_NUMBER)
    if either.any():
        remedy = f"set data.dates by column to my or md (or ym, dm), or {LEAVE_OUT}"
        return _first(texts, either), "may be a month of a year or a day of a month", remedy
    if kinds["date"].any():
        remedy = f"write dates as 2013-12-31, set data.dates by column, or {LEAVE_OUT}"
        return _first(texts, kinds["date"]), "is a date, and the column is not in one known form", remedy
    if kinds["stand-in"].any():
        expected = "is not a number" if kinds["number"].any() else "is neither true nor false"
        return _first(texts, kinds["stand-in"]), f"{expected}, as the other values are", CORRECT
    comma, point = (kinds["number"] & _match(texts, f"[{mark}]") for mark in ",.")
    rare = comma if counts[comma].sum() <= counts[point].sum() else point
    return _first(texts, rare), "has other marks than the other numbers of the column", CORRECT


def _classify(texts: pa.Array) -> dict[str, Mask]:
    """Mark the texts of each kind; a text is of the first kind that it fits."""
    left = np.ones(len(texts), dtype=bool)
    kinds: dict[str, Mask] = {}
    for kind, pattern in _PATTERNS.items():
        mask = _match(texts, pattern)
        kinds[kind] = mask & left
        left &= ~mask
    kinds["decorated"] = _have_a_pattern(texts, left & _match(texts, _STARTS_WITH_NUMBER))
    if kinds["range"].sum() > _FEW:
        kinds["decorated"] |= kinds["range"]
        kinds["range"] &= ~kinds["range"]
    kinds["word"] = (left & ~kinds["decorated"]) | kinds["code"]
    return kinds


def _have_a_pattern(texts: pa.Array, candidates: Mask) -> Mask:
    """Mark texts without letters, and all candidates if only their numbers differ, as in ``5 kg`` and ``3h 20m``."""
    without_letters = candidates & (~_match(texts, r"\pL") | _match(texts, "(?i)^0x[0-9a-f]+$"))
    patterns = pc.replace_substring_regex(texts.filter(pa.array(candidates)), _DIGITS, "0")
    few = _TEXTS_OF_A_PATTERN * len(pc.unique(patterns)) <= len(patterns)
    return candidates if few else without_letters


def _match(texts: pa.Array, pattern: str) -> Any:
    return pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)


def _first(texts: pa.Array, mask: Mask) -> str:
    return str(texts[int(np.argmax(mask))].as_py())
