"""Columns of numbers written as text, and the one decimal mark that a table has."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import LARGEST, MARKS, Decimal, parse_number, plain_marks
from stages.entry import log
from stages.params import DataParams
from stages.table.dates import report_dates_written_as_numbers
from stages.table.findings import LEAVE_OUT, Cells, Distinct, read_text

LARGEST_EXACT = 2**53
"""Whole numbers up to here are exact as float64."""

_MANY_ZEROS = 0.1
_HEAD = 1000


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers whose marks wait for the other columns."""

    cells: Cells
    distinct: Distinct | None
    """The different texts, None if all are plain numbers with or without a decimal point."""
    proves: Decimal | None
    """The decimal mark that this column proves, None if it proves none."""
    example: int | None
    """A row that proves it, or else one that can be read both ways."""


def find_plain_numbers(cells: Cells, data: DataParams) -> Numbers | pd.Series | None:
    """Return a column of numbers without marks but a decimal point, its codes with leading zeros; None for others."""
    values = cells.cast(pa.float64())
    if values is None:
        return None
    endless = cells.texts.filter(pc.invert(pc.is_finite(values)))
    if pc.any(
        pc.invert(pc.match_substring_regex(endless, "[0-9]"))
    ).as_py():  # words such as inf; 1e999 is reported later
        return None
    if cells.cast(pa.int64()) is not None:
        if not report_dates_written_as_numbers(cells, data) and _are_codes(cells):
            log(f"column {cells.name!r} has leading zeros: its values are codes, read as text")
            return read_text(cells)
        return Numbers(cells, None, None, None)
    for texts in (cells.texts.slice(0, _HEAD), cells.texts):
        with_point = pc.match_substring(texts, ".")
        grouped = pc.match_substring_regex(texts, r"^[+-]?[1-9][0-9]{0,2}[.][0-9]{3}$")
        proof = pc.index(pc.and_(with_point, pc.invert(grouped)), value=True).as_py()
        if proof >= 0:
            return Numbers(cells, None, ".", proof)
    row = pc.index(with_point, value=True).as_py()
    return Numbers(cells, None, None, row if row >= 0 else None)


def _are_codes(cells: Cells) -> bool:
    """Return whether whole numbers are codes: with leading zeros, all of one length or many with such a zero."""
    zeros = pc.sum(pc.match_substring_regex(cells.texts, "^0[0-9]+$")).as_py()
    if not zeros:
        return False
    lengths = pc.min_max(pc.utf8_length(cells.texts)).as_py()
    return bool(lengths["min"] == lengths["max"] or zeros >= _MANY_ZEROS * cells.known)


def find_marked_numbers(cells: Cells, distinct: Distinct) -> Numbers | None:
    """Return a column of numbers with decimal commas or marks between thousands; None for another."""
    misfits = {mark: _misfit(distinct.texts, mark) for mark in MARKS}
    if None not in misfits.values():
        return None
    for mark, misfit in misfits.items():
        if misfit is not None:
            return Numbers(cells, distinct, "," if mark == "." else ".", cells.row_of(misfit))
    either = next((text for text in distinct.texts if "." in text or "," in text), None)
    return Numbers(cells, distinct, None, None if either is None else cells.row_of(either))


def _misfit(texts: Sequence[str], mark: Decimal) -> str | None:
    """Return the first text that is no number with this decimal mark."""
    for text in texts:
        try:
            parse_number(text, mark, MARKS[mark])
        except ValueError:
            return text
    return None


def find_marks(columns: Sequence[Numbers], said: Decimal | None) -> tuple[Decimal, str]:
    """Return the decimal mark of the table, and the marks between thousands that it has.

    One table has one decimal mark: what one column proves holds for all. Reports columns that
    prove different marks, and those that can be read both ways where nothing proves one.
    """
    proofs: dict[Decimal, Numbers] = {each.proves: each for each in reversed(columns) if each.proves}
    decimal: Decimal = said if said is not None else next(iter(proofs)) if len(proofs) == 1 else "."
    if said:
        for each in columns:
            if each.proves not in (None, said):
                each.cells.report(each.example or 0, f"is no number with data.decimal {said!r}")
    elif len(proofs) > 1:
        comma, point = proofs[","], proofs["."]
        text = comma.cells.show(comma.example or 0)
        problem = f"has a decimal point, but {text!r} in column {comma.cells.name!r} has a decimal comma"
        remedy = f"a table has one decimal mark: set data.decimal, or {LEAVE_OUT}"
        point.cells.report(point.example or 0, problem, remedy)
    elif not proofs:
        for each in columns:
            if each.example is not None:
                _report_ambiguous(each.cells, each.example)
    seen = set(plain_marks("".join(text for each in columns if each.distinct for text in each.distinct.texts)))
    if decimal == "," and any(each.distinct is None and each.example is not None for each in columns):
        seen.add(".")
    return decimal, "".join(mark for mark in MARKS[decimal] if mark in seen)


def _report_ambiguous(cells: Cells, row: int) -> None:
    point, comma = (parse_number(cells.show(row), mark, MARKS[mark]) for mark in MARKS)
    problem = f"may be {point:.12g} or {comma:.12g}: no column shows whether '.' or ',' is the decimal mark"
    cells.report(row, problem, f"set data.decimal, or {LEAVE_OUT}")


def convert(column: Numbers, decimal: Decimal) -> pd.Series:
    """Return int64 if all are written as whole numbers and none is missing, else float64 with NaN.

    Reports numbers that a feature cannot hold.
    """
    cells, distinct = column.cells, column.distinct
    if column.proves not in (None, decimal):
        return read_text(cells)  # was reported
    if distinct is None and (decimal == "." or column.example is None):
        numbers = pc.cast(cells.texts, pa.float64()).fill_null(np.nan).to_numpy()
        whole = None if cells.texts.null_count else cells.cast(pa.int64())
        integers = None if whole is None else whole.to_numpy()
    else:
        distinct = distinct or cells.distinct()
        numbers = distinct.spread([parse_number(text, decimal, MARKS[decimal]) for text in distinct.texts], np.nan)
        are_whole = not cells.texts.null_count and not any(
            re.search(rf"[{decimal}eE]", text) for text in distinct.texts
        )
        integers = numbers.astype(np.int64) if are_whole else None
    report_unfit(cells, numbers, decimal)
    return pd.Series(numbers if integers is None else integers, name=cells.name)


def report_unfit(cells: Cells, numbers: np.ndarray[Any, Any], decimal: Decimal = ".") -> None:
    """Report the first number that is beyond float32, and the first whole one that float64 would round."""
    wide = np.flatnonzero(np.abs(numbers) >= LARGEST_EXACT).tolist()
    for row in wide:
        if abs(numbers[row]) > LARGEST:
            problem = "is beyond 3.4e38, the largest number a feature can have"
            cells.report(row, problem, f"correct it, or {LEAVE_OUT}")
            return
    for row in wide:
        digits = re.sub(f"[-+{MARKS[decimal]}]", "", plain_marks(cells.show(row)))
        if digits.isdigit() and int(digits) > LARGEST_EXACT:
            problem = "is a whole number beyond 2^53 and would be rounded"
            cells.report(row, problem, f"if it is a code, {LEAVE_OUT}")
            return
