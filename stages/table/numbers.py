"""Read columns of numbers written as text, and find the one decimal mark of the table."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import LARGEST, Decimal, parse_number, plain_marks
from stages.entry import log
from stages.table.findings import LEAVE_OUT, Cells

MARKS: dict[Decimal, str] = {".": ",' ", ",": ".' "}
"""The marks between thousands that are possible with each decimal mark."""
_LARGEST_EXACT = 2**53
"""float64 represents whole numbers up to this one exactly."""
_MANY_ZEROS = 0.1
_HEAD = 1000
_WHOLE = re.compile(r"[+-]?(?:[0-9]{1,3}(?:[., '][0-9]{3})+|[0-9]+)")
_GROUPED = r"^[+-]?[1-9][0-9]{0,2}[.][0-9]{3}$"


def number_parser(decimal: Decimal) -> Callable[[str], float]:
    """Return the parser of numbers with this decimal mark and any mark between thousands."""
    return partial(parse_number, decimal=decimal, thousands=MARKS[decimal])


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers, to be read when the table's decimal mark is known."""

    name: str
    strays: dict[Decimal, str | None]
    """The first text that is no number with each decimal mark; None if all are numbers."""
    marked: str | None
    """The first text with a point or comma."""
    marks: str
    """All marks in the texts; of plain numbers only those of `marked`."""
    plain: bool
    """Whether Arrow can read the numbers with a decimal point."""

    def read(self, cells: Cells, decimal: Decimal) -> pd.Series:
        """Return int64 if all of the column's cells are whole numbers and no value is missing, else float64 with NaN.

        Reports a number that a feature cannot hold.
        """
        if self.strays[decimal] is not None:
            return cells.as_text()  # already reported
        if self.plain and (decimal == "." or self.marked is None):
            numbers = cells.floats()
            are_whole = not cells.texts.null_count and cells.cast(pa.int64()) is not None
        else:
            numbers, _ = cells.parse(number_parser(decimal), np.nan, np.float64)
            with_fraction = pc.any(pc.match_substring_regex(cells.texts, f"[{decimal}eE]"))
            are_whole = not cells.texts.null_count and not with_fraction.as_py()
        fits = report_unfit(cells, numbers)
        return pd.Series(numbers.astype(np.int64) if are_whole and fits else numbers, name=cells.name)


def find_plain_numbers(cells: Cells) -> Numbers | None:
    """Return a column of numbers without marks other than a decimal point; None for others."""
    values = cells.cast(pa.float64())
    if values is None:
        return None
    endless = cells.texts.filter(pc.invert(pc.is_finite(values)))
    if not pc.all(pc.match_substring_regex(endless, "[0-9]"), min_count=0).as_py():  # inf; 1e999 is reported later
        return None
    for texts in (cells.texts.slice(0, _HEAD), cells.texts):
        with_point = pc.match_substring(texts, ".")
        proof = pc.index(pc.and_(with_point, pc.invert(pc.match_substring_regex(texts, _GROUPED))), value=True).as_py()
        if proof >= 0:
            return _plain(cells, proof, cells.show(proof))
    return _plain(cells, pc.index(with_point, value=True).as_py(), None)


def _plain(cells: Cells, marked: int, proof: str | None) -> Numbers:
    text = cells.show(marked) if marked >= 0 else None
    return Numbers(cells.name, {".": None, ",": proof}, text, plain_marks(text or ""), plain=True)


def find_marked_numbers(cells: Cells) -> Numbers | None:
    """Return a column of numbers with decimal commas or marks between thousands; None for others."""
    strays: dict[Decimal, str | None] = {
        mark: cells.parse(number_parser(mark), np.nan, np.float64)[1] for mark in MARKS
    }
    if None not in strays.values():
        return None
    row = pc.index(pc.match_substring_regex(cells.texts, "[.,]"), value=True).as_py()
    letters: set[str] = set()
    for chunk in cells.texts.chunks:
        letters.update(*pc.unique(chunk.drop_null()).to_pylist())
    return Numbers(
        cells.name, strays, cells.show(row) if row >= 0 else None, plain_marks("".join(letters)), plain=False
    )


def are_codes(cells: Cells) -> bool:
    """Return whether whole numbers are codes: some have leading zeros, and all have one length or many have zeros."""
    zeros = pc.sum(pc.match_substring_regex(cells.texts, "^0[0-9]+$")).as_py()
    if not zeros or cells.cast(pa.int64()) is None:
        return False
    lengths = pc.min_max(pc.utf8_length(cells.texts)).as_py()
    codes = bool(lengths["min"] == lengths["max"] or zeros >= _MANY_ZEROS * cells.known)
    if codes:
        log(f"column {cells.name!r} has leading zeros: its values are codes, read as text")
    return codes


def find_decimal(columns: Sequence[Numbers], decimal: Decimal | None, load: Callable[[str], Cells]) -> Decimal:
    """Return the decimal mark of the table: `decimal` if it is set, else the one that fits all columns.

    `load` returns the cells of the column with a name. Reports columns that the mark does not fit, and those that both
    marks fit if no column decides.
    """
    against: dict[Decimal, list[Numbers]] = {mark: [each for each in columns if each.strays[mark]] for mark in MARKS}
    if decimal:
        for each in against[decimal]:
            load(each.name).report(each.strays[decimal] or "", f"is no number with data.decimal {decimal!r}")
        return decimal
    if against["."] and against[","]:
        comma, point = against["."][0], against[","][0]
        other = f"{comma.strays['.']!r} in column {comma.name!r} has a decimal comma"
        remedy = f"a table has one decimal mark: set data.decimal, or {LEAVE_OUT}"
        load(point.name).report(point.strays[","] or "", f"has a decimal point, but {other}", remedy)
    elif not (against["."] or against[","]):
        for each in columns:
            _report_two_readings(each, load)
    return "," if against["."] and not against[","] else "."


def _report_two_readings(column: Numbers, load: Callable[[str], Cells]) -> None:
    if column.marked:
        point, comma = (number_parser(mark)(column.marked) for mark in MARKS)
        problem = f"may be {point:.12g} or {comma:.12g}: no column shows whether '.' or ',' is the decimal mark"
        load(column.name).report(column.marked, problem, f"set data.decimal, or {LEAVE_OUT}")


def find_thousands(columns: Sequence[Numbers], decimal: Decimal) -> str:
    """Return the marks between thousands that occur in the table."""
    seen = "".join(each.marks for each in columns)
    return "".join(mark for mark in MARKS[decimal] if mark in seen)


def report_unfit(cells: Cells, numbers: np.ndarray[Any, Any]) -> bool:
    """Report the first number that is beyond float32, or is whole and beyond what float64 holds exactly."""
    most = LARGEST if pa.types.is_floating(cells.texts.type) else _LARGEST_EXACT - 1  # floats are rounded already
    for row, text in cells.show_rows(np.flatnonzero((numbers > most) | (numbers < -most))):
        if abs(numbers[row]) > LARGEST:
            cells.report(row, "is beyond 3.4e38, the largest number a feature can have", f"correct it, or {LEAVE_OUT}")
        elif _WHOLE.fullmatch(plain := plain_marks(text)) and abs(int(re.sub("[., ']", "", plain))) > _LARGEST_EXACT:
            cells.report(row, "is a whole number beyond 2^53 and would be rounded", f"if it is a code, {LEAVE_OUT}")
        else:
            continue
        return False
    return True
