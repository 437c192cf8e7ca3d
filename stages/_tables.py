"""Read any CSV or Parquet table into typed columns, or say in one line why not."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages._cells import FIRST_ROW, Cells, find_missing, looks_decorated, read_booleans, read_text
from stages._csv import read_csv
from stages._dates import read_dates
from stages._entry import log
from stages._errors import UserError
from stages._formats import PARQUET, head_of
from stages._numbers import read_numbers
from stages._params import DataParams
from stages._parquet import ParquetFile, read_native

_SHOWN_NAMES = 20
_LONGEST_NAME = 60
_MOST_CLASSES = 200


def read(data: DataParams) -> pd.DataFrame:
    """Read `data.path` without the ignored columns.

    Returns float64 or int64 numbers, booleans, datetime64[us] (naive, UTC) and text, in the
    file's order; what is missing is NaN, NaT or NA. A CSV file's columns are of the type that
    all their cells can be read as, a Parquet file's of their own.

    Raises UserError for what is no such table: one line with the file, the place and the remedy.
    """
    path = Path(data.path)
    head = head_of(path)
    if path.suffix == ".parquet" and not head.startswith(PARQUET):
        raise UserError(f"{path}: is named .parquet but is no Parquet file; write it anew or rename it")
    columns = _from_parquet(path, data) if head.startswith(PARQUET) else _from_csv(path, data)
    frame = pd.DataFrame({series.name: series for series in columns})
    log(f"{len(frame):,} rows and {len(frame.columns):,} columns read from {path}")
    return frame


def _from_parquet(path: Path, data: DataParams) -> Iterator[pd.Series]:
    file = ParquetFile(path)
    names = _checked_names(file.names, data)
    original = dict(zip(names, file.names, strict=True))
    kept = [name for name in names if name not in data.ignore]
    columns = file.columns([original[name] for name in kept])
    for cells in _each(path, kept, columns, _row_of_parquet):
        text = cells.name in data.categorical
        yield _read_codes(cells) if text else read_native(cells)


def _row_of_parquet(row: int) -> str:
    return f"row {row + FIRST_ROW}"


def _from_csv(path: Path, data: DataParams) -> Iterator[pd.Series]:
    file, header, columns = read_csv(path)
    names = _checked_names(header, data)
    _refuse_repeated_header(path, header, columns, file.where)
    kept = [place for place, name in enumerate(names) if name not in data.ignore]
    columns = [columns[place] for place in kept]
    for cells in _each(path, [names[place] for place in kept], columns, file.where):
        known = Cells(cells.path, cells.name, find_missing(cells.column, data.missing), cells.where)
        yield _read_column(known, file.delimiter, data)


def _each(path: Path, names: Sequence[str], columns: list[Any], where: Callable[[int], str]) -> Iterator[Cells]:
    """Give the columns one by one, each let go before the next: text takes more memory than what is made of it."""
    columns.reverse()
    for name in names:
        yield Cells(str(path), name, columns.pop(), where)


def _read_column(cells: Cells, delimiter: str, data: DataParams) -> pd.Series:
    """Find out what a column of text holds: numbers, truth values, dates, or text."""
    if cells.name in data.categorical:
        return read_text(cells)
    try:
        series = _read_numbers_booleans_dates(cells, delimiter)
    except UserError:
        if not _holds_labels(cells, data):
            raise
        series = None
    if series is not None:
        return series
    if cells.name != data.target and looks_decorated(cells):
        log(f"column {cells.name!r} is read as text: its numbers have units or separators, such as {cells.first()}")
    return read_text(cells)


def _read_numbers_booleans_dates(cells: Cells, delimiter: str) -> pd.Series | None:
    numbers = read_numbers(cells, delimiter)
    if numbers is not None:
        return numbers
    flags = read_booleans(cells)
    return read_dates(cells) if flags is None else flags


def _holds_labels(cells: Cells, data: DataParams) -> bool:
    """Tell whether a column of mixed cells is the target and its cells recur: then they are classes (``1 2 N/A``)."""
    if cells.name != data.target or data.task == "regression":
        return False
    distinct = pc.count_distinct(cells.column).as_py()
    return bool(data.task == "classification" or distinct <= min(_MOST_CLASSES, cells.known // 2))


def _read_codes(cells: Cells) -> pd.Series:
    """Turn a Parquet column that is listed under `data.categorical` into text."""
    try:
        return read_text(Cells(cells.path, cells.name, cells.column.cast(pa.large_string()), cells.where))
    except pa.ArrowException:
        raise UserError(
            f"{cells.path}: column {cells.name!r} holds {cells.column.type!s:.80}, which is no category; "
            "take it out of data.categorical"
        ) from None


def _refuse_repeated_header(
    path: Path, header: Sequence[str], columns: Sequence[pa.ChunkedArray], where: Callable[[int], str]
) -> None:
    repeats = pc.equal(columns[0], header[0])
    for name, column in zip(header[1:], columns[1:], strict=False):
        if not pc.any(repeats).as_py():
            return
        repeats = pc.and_(repeats, pc.equal(column, name))
    if pc.any(repeats).as_py():
        row = pc.index(repeats, value=True).as_py()
        raise UserError(f"{path}: {where(row)} repeats the header; remove it")


def _checked_names(header: Sequence[str], data: DataParams) -> list[str]:
    """Give the columns' names without blanks around them and without line breaks.

    Raises UserError for a name that is missing, stands twice or cannot be shown, and for one
    that params.yaml says and the table has not.
    """
    names = [re.sub(r"\s*[\t\n\v\f\r]+\s*", " ", name.strip()) for name in header]
    for place, name in enumerate(names, start=1):
        if not name:
            raise UserError(f"{data.path}: column {place} has no name; give it one in the header, or remove it")
        if not name.isprintable() and re.search(r"[\x00-\x1f\x7f]", name):
            raise UserError(f"{data.path}: the name of column {place} holds a control character: {name!r}; rename it")
    _refuse_twice(names, data)
    for key in ("target", "ignore", "categorical", "strict"):
        value = getattr(data, key)
        for name in [value] if isinstance(value, str) else value:
            if name not in names:
                raise UserError(f"params.yaml: data.{key}: no column {name!r} in {data.path}; {_nearest(name, names)}")
    return names


def _refuse_twice(names: Sequence[str], data: DataParams) -> None:
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        first = names.index(name) + 1
        second = names.index(name, first) + 1
        raise UserError(
            f"{data.path}: the column name {_shortened(name)} stands twice, in columns {first} and {second}; rename one"
        )


def _nearest(name: str, names: Sequence[str]) -> str:
    folded = {each.casefold(): each for each in reversed(names)}
    near = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1)
    shown = ", ".join(_shortened(each) for each in names[:_SHOWN_NAMES])
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    has = f"it has {shown}{more}"
    if near:
        return f"did you mean {folded[near[0]]!r}? {has}"
    return f"{has}; line 1 must be a header" if len(names) == 1 else has


def _shortened(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...")
