"""CSV tables that people open in a spreadsheet, which runs text that begins like a formula."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from stages import files

_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write the table without its index, and escape text that a spreadsheet would run."""
    cells = table.rename(columns=_as_text).apply(lambda column: column.map(_as_text))
    files.write_text(path, cells.to_csv(index=False, lineterminator="\n"))


def _as_text(cell: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would run; a number written as text stays one.

    A carriage return becomes a space: the writer does not quote it, so it would begin a new row.
    """
    if not isinstance(cell, str):
        return cell
    runs = _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return ("'" if runs else "") + cell.replace("\r", " ")
