"""Columns of numbers written as text, and the one decimal mark that a table has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import LARGEST, MARKS, SPACES, Decimal, number_pattern, parse_number
from stages._dates import report_dates_written_as_numbers
from stages._entry import log
from stages._findings import LEAVE_OUT, Cells, cast, read_text
from stages._params import DataParams

LARGEST_EXACT = 2**53
"""Whole numbers up to here are exact as float64."""

_MANY_ZEROS = 0.1


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers whose marks wait for the other columns."""

    cells: Cells
    decimal: Decimal | None
    """The decimal mark that this column proves, None if it proves none."""
    example: int | None
    """The row that proves it, or a row that can be read both ways."""


def find_numbers(cells: Cells, data: DataParams) -> Numbers | pd.Series | None:
    if cells.known == 0:
        return pd.Series(np.full(len(cells.texts), np.nan), name=cells.name)
    plain = cast(cells, pa.float64())
    if plain is not None and not pc.any(pc.invert(pc.is_finite(plain))).as_py():
        return _plain_numbers(cells, data)
    spaced = Cells(cells.name, _plain_spaces(cells.texts), cells.findings)
    fits: list[Decimal] = [mark for mark, marks in MARKS.items() if spaced.all_match(number_pattern(mark, marks))]
    if not fits:
        return None
    if len(fits) == 1:
        (decimal,) = fits
        other: Decimal = "," if decimal == "." else "."
        proof = pc.invert(pc.match_substring_regex(spaced.texts, f"^(?:{number_pattern(other, MARKS[other])})$"))
        return Numbers(cells, decimal, cells.first(proof))
    return Numbers(cells, None, cells.first(pc.match_substring_regex(cells.texts, "[.,]")))


def _plain_numbers(cells: Cells, data: DataParams) -> Numbers | pd.Series:
    if cells.all_match("[0-9]+") and not report_dates_written_as_numbers(cells, data) and _are_codes(cells):
        log(f"column {cells.name!r} has leading zeros: its values are codes, read as text")
        return read_text(cells)
    with_point = pc.match_substring(cells.texts, ".")
    row = cells.first(with_point)
    if row is None:
        return Numbers(cells, None, None)
    grouped = pc.match_substring_regex(cells.texts, r"^[+-]?[1-9][0-9]{0,2}[.][0-9]{3}$")
    proof = cells.first(pc.and_(with_point, pc.invert(grouped)))
    return Numbers(cells, None, row) if proof is None else Numbers(cells, ".", proof)


def _are_codes(cells: Cells) -> bool:
    """Return whether whole numbers are codes: with leading zeros, all of one length or many with such a zero."""
    zeros = pc.sum(pc.match_substring_regex(cells.texts, "^0[0-9]")).as_py() or 0
    if not zeros:
        return False
    lengths = pc.min_max(pc.utf8_length(cells.texts)).as_py()
    return bool(lengths["min"] == lengths["max"] or zeros >= _MANY_ZEROS * cells.known)


def find_marks(columns: Sequence[Numbers], said: Decimal | None) -> tuple[Decimal, str]:
    """Return the decimal mark of the table, and the marks between thousands that it has.

    One table has one decimal mark: what one column proves holds for all. Reports columns that
    prove different marks, and those that can be read both ways where nothing proves one.
    """
    proofs: dict[Decimal, Numbers] = {each.decimal: each for each in reversed(columns) if each.decimal}
    decimal: Decimal = said if said is not None else next(iter(proofs)) if len(proofs) == 1 else "."
    if said:
        for each in columns:
            if each.decimal not in (None, said):
                each.cells.report(each.example or 0, f"is no number with data.decimal {said!r}")
    elif len(proofs) > 1:
        comma, point = proofs[","], proofs["."]
        text = comma.cells.texts[comma.example or 0].as_py()
        problem = f"is a number with a decimal point, but {text!r} in column {comma.cells.name!r} has a decimal comma"
        point.cells.report(
            point.example or 0, problem, f"a table has one decimal mark: set data.decimal, or {LEAVE_OUT}"
        )
    elif not proofs:
        for each in columns:
            if each.example is not None:
                _report_ambiguous(each, each.example)
    every = (pc.unique(_plain_spaces(each.cells.texts)).drop_null() for each in columns)
    marks = {mark for texts in every for mark in MARKS[decimal] if pc.any(pc.match_substring(texts, mark)).as_py()}
    return decimal, "".join(mark for mark in MARKS[decimal] if mark in marks)


def _report_ambiguous(column: Numbers, row: int) -> None:
    text = column.cells.texts[row].as_py()
    point, comma = (parse_number(text, mark, MARKS[mark]) for mark in MARKS)
    problem = f"may be {point:.12g} or {comma:.12g}: no column shows whether '.' or ',' is the decimal mark"
    column.cells.report(row, problem, f"set data.decimal, or {LEAVE_OUT}")


def convert(column: Numbers, decimal: Decimal) -> pd.Series:
    """Return int64 if all are written as whole numbers and none is missing, else float64 with NaN.

    Reports numbers that a feature cannot hold.
    """
    cells = column.cells
    texts = cells.texts
    if column.example is not None or cast(cells, pa.float64()) is None:
        texts = _plain_spaces(texts)
        for mark in MARKS[decimal]:
            texts = pc.replace_substring(texts, mark, "")
        texts = pc.replace_substring(texts, decimal, ".")
    if column.decimal not in (None, decimal):
        return read_text(cells)  # was reported
    numbers = pc.cast(texts, pa.float64())
    whole = cast(Cells(cells.name, texts, cells.findings), pa.int64()) if not numbers.null_count else None
    report_unfit(cells, numbers.fill_null(np.nan).to_numpy())
    return pd.Series((numbers.fill_null(np.nan) if whole is None else whole).to_numpy(), name=cells.name)


def report_unfit(cells: Cells, numbers: np.ndarray[Any, Any], *, whole: bool = False) -> None:
    """Report the first number that is beyond float32, and the first whole one that float64 would round.

    `whole` says that all are whole numbers; else those are that are written so.
    """
    with np.errstate(invalid="ignore"):
        beyond = np.flatnonzero(np.abs(numbers) > LARGEST)
        wide = np.flatnonzero(np.abs(numbers) >= LARGEST_EXACT)
    if len(beyond):
        problem = "is beyond 3.4e38, the largest number a feature can have"
        cells.report(int(beyond[0]), problem, f"correct it, or {LEAVE_OUT}")
    for row in wide.tolist():
        text = cells.show(row).lstrip("+-") if whole or pa.types.is_large_string(cells.texts.type) else ""
        if text.isdigit() and int(text) > LARGEST_EXACT:
            problem = "is a whole number beyond 2^53 and would be rounded"
            cells.report(row, problem, f"if it is a code, {LEAVE_OUT}")
            return


def _plain_spaces(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring(pc.replace_substring_regex(texts, SPACES, " "), "’", "'")
