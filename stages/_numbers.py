"""Columns of numbers: written as text, or as Parquet's own types."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages._cells import Cells, cast, count, refuse_strays
from stages._entry import log
from stages._errors import UserError

LARGEST_EXACT = 2**53
"""Whole numbers up to here are exact as float64."""
_LARGEST = float(np.finfo(np.float32).max)
_POINT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_COMMA = r"^[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?$"
_EITHER = r"^[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?$"
_THOUSANDS = r"^[+-]?[1-9]\d{0,2},\d{3}$"
_WHOLE = r"^\d+$"
_MANY_ZEROS = 0.1
_REMEDY = "correct it, or list the column under data.categorical or data.ignore"


def read_numbers(cells: Cells, delimiter: str) -> pd.Series | None:
    """Read a column of numbers in decimal notation; None for another.

    ``1e5``, ``+3`` and ``.5`` are numbers. So is ``3,75``, where every value is whole or
    has a decimal comma; in a file with commas between the values, where most have one.
    ``1,234`` in every such cell may be a thousand as well: refused, and left to be text in a
    file with commas between the values. Whole numbers with leading zeros (``00501``), if all
    are of one length or many have them, are codes: no numbers.

    Returns int64 if all are written as whole numbers and none is missing, else float64 with NaN.
    Raises UserError for a stray cell among numbers and a number that is not exact or not finite.
    """
    values = cast(cells, pa.float64())
    if values is not None and not pc.any(pc.is_nan(values)).as_py():
        if _are_codes(cells):
            log(f"column {cells.name!r} has leading zeros: its values are codes, read as text")
            return None
        series = finite(cells, values)
        return (series if values.null_count else _whole_if_written_so(cells, series)).rename(cells.name)
    if _has_decimal_commas(cells, delimiter):
        return finite(cells, pc.cast(pc.replace_substring(cells.column, ",", "."), pa.float64())).rename(cells.name)
    fits = cells.match(_POINT if delimiter == "," else _EITHER)
    if delimiter != "," and count(fits) == cells.known:
        raise _mixed_decimals(cells)
    refuse_strays(cells, fits, "is not a number, as the other values are")
    return None


def _are_codes(cells: Cells) -> bool:
    zeros = count(pc.starts_with(cells.column, "0"))
    plain = count(pc.starts_with(cells.column, "0.")) + count(pc.equal(cells.column, "0"))
    if zeros == plain:
        return False
    if count(cells.match(_WHOLE)) < cells.known:
        return False
    lengths = pc.min_max(pc.utf8_length(cells.column)).as_py()
    return bool(lengths["min"] == lengths["max"] or zeros - plain >= _MANY_ZEROS * cells.known)


def _whole_if_written_so(cells: Cells, series: pd.Series) -> pd.Series:
    whole = cast(cells, pa.int64())
    return series if whole is None else pd.Series(whole.to_numpy())


def _has_decimal_commas(cells: Cells, delimiter: str) -> bool:
    if count(cells.match(_COMMA)) < cells.known:
        return False
    with_comma = pc.match_substring(cells.column, ",")
    if delimiter == "," and 2 * count(with_comma) < cells.known:
        return False
    if count(cells.match(_THOUSANDS)) < count(with_comma):
        return True
    if delimiter == ",":
        return False
    row = pc.index(with_comma, value=True).as_py()
    raise cells.error(
        row,
        f"{cells.show(row)} may be a decimal or a thousand, and no other value tells which",
        "write numbers without separators of thousands and with a decimal point, or " + _REMEDY.partition("or ")[2],
    )


def _mixed_decimals(cells: Cells) -> UserError:
    commas = pc.match_substring(cells.column, ",")
    points = pc.match_substring(cells.column, ".")
    rarer, other = (commas, "points") if count(commas) <= count(points) else (points, "commas")
    row = pc.index(rarer, value=True).as_py()
    return cells.error(row, f"{cells.show(row)} stands among numbers with decimal {other}", _REMEDY)


def finite(cells: Cells, values: pa.ChunkedArray) -> pd.Series:
    """Give float64 `values` as pandas holds them, NaN where missing, after refusing what float32 cannot hold."""
    numbers = values.to_numpy() if values.null_count == 0 else values.fill_null(np.nan).to_numpy()
    size = np.abs(numbers)
    _refuse(cells, size == np.inf, "is infinite or too large a number")
    _refuse(cells, size > _LARGEST, "is beyond 3.4e38, the largest number a feature can have")
    _refuse_inexact(cells, np.flatnonzero(size >= LARGEST_EXACT))
    return pd.Series(numbers)


def _refuse(cells: Cells, bad: npt.NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise cells.error(row, f"{cells.show(row)} {problem}", _REMEDY)


def _refuse_inexact(cells: Cells, rows: npt.NDArray[np.intp]) -> None:
    if not pa.types.is_string(cells.column.type) or len(rows) == 0:
        return
    for row, text in zip(rows.tolist(), cells.column.take(pa.array(rows)).to_pylist(), strict=True):
        if text.lstrip("+-").isdigit() and abs(int(text)) > LARGEST_EXACT:
            raise inexact(cells, row)


def inexact(cells: Cells, row: int) -> UserError:
    """Say that a whole number cannot be held exactly."""
    problem = f"{cells.show(row)} is a whole number beyond 2^53 and would be rounded"
    return cells.error(row, problem, "list the column under data.categorical if it holds codes, or under data.ignore")
