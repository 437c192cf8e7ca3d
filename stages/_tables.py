"""Read any CSV or Parquet table into typed columns, or say all that is wrong with it, a line each."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from service.cells import EVERY_COLUMN, Reading
from stages._csv import read_csv
from stages._entry import log
from stages._errors import UserError
from stages._findings import FIRST_ROW, Cells, Findings, Locate, read_text
from stages._formats import PARQUET, head_of
from stages._infer import read_column
from stages._numbers import Numbers, convert, find_marks
from stages._params import DataParams
from stages._parquet import ParquetFile, is_text, read_native

_SHOWN_NAMES = 20
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class _Source:
    """A file's columns as they stand in it."""

    names: list[str]
    """Of all columns."""
    columns: Callable[[Sequence[str]], list[pa.ChunkedArray]]
    """Returns those of these names."""
    locate: Locate
    reading: Reading


def read(data: DataParams) -> pd.DataFrame:
    """Read `data.path` as `read_table` does, without the rules."""
    return read_table(data)[0]


def read_table(data: DataParams) -> tuple[pd.DataFrame, Reading]:
    """Read `data.path` without the ignored columns, and return how its cells were read.

    The table has float64 or int64 numbers, booleans, datetime64[us] (naive, UTC) and text, in the
    file's order; what is missing is NaN, NaT or NA. A column of text is of the type that all its
    cells can be read as, in Parquet too, where the other columns keep their own types.

    Raises UserError with one line for each problem: the file, the place and the remedy.
    """
    path = Path(data.path)
    try:
        frame, reading = _read(path, data)
    except MemoryError:
        raise UserError(_too_large(path)) from None
    log(f"{len(frame):,} rows and {len(frame.columns):,} columns read from {path}")
    return frame, reading


def _too_large(path: Path) -> str:
    size = f"{path.stat().st_size / 1e6:,.0f} MB"
    if path.suffix == ".parquet":
        about = pyarrow.parquet.read_metadata(path)
        size += f", {about.num_rows:,} rows of {about.num_columns:,} columns"
    return (
        f"{path}: needs more memory than there is ({size}; in memory a table is several times as large as its file); "
        "list columns under data.ignore, use fewer rows, or give more memory"
    )


def _read(path: Path, data: DataParams) -> tuple[pd.DataFrame, Reading]:
    head = head_of(path)
    if path.suffix == ".parquet" and not head.startswith(PARQUET):
        raise UserError(f"{path}: is named .parquet but is no Parquet file; write it anew or rename it")
    findings = Findings(str(path), data.target)
    source = _open_parquet(path) if head.startswith(PARQUET) else _open_csv(data, findings)
    names = _checked_names(source.names, data, findings)
    if len(set(names)) < len(names):
        findings.stop(source.locate)
    original = dict(zip(names, source.names, strict=True))
    kept = [name for name in names if name not in data.ignore]
    columns = source.columns([original[name] for name in kept])
    dates: dict[str, str] = {}
    reading = source.reading.model_copy(update={"missing": data.missing_by_column})
    series = [_read_one(cells, data, reading, dates) for cells in _each(kept, columns, findings)]
    numbers = [each for each in series if isinstance(each, Numbers)]
    decimal, thousands = find_marks(numbers, data.decimal)
    done = [convert(each, decimal) if isinstance(each, Numbers) else each for each in series]
    findings.stop(source.locate)
    update = {"decimal": decimal, "thousands": thousands, "dates": dates}
    return pd.DataFrame({each.name: each for each in done}), reading.model_copy(update=update)


def _open_parquet(path: Path) -> _Source:
    file = ParquetFile(path)
    return _Source(file.names, file.columns, lambda rows: {row: f"row {row + FIRST_ROW}" for row in rows}, Reading())


def _open_csv(data: DataParams, findings: Findings) -> _Source:
    table = read_csv(data, findings)
    reading = Reading(delimiter=table.file.delimiter, encoding=table.file.encoding, row_names=table.row_names)
    columns = dict(zip(table.names, table.columns, strict=True))
    return _Source(table.names, lambda names: [columns.pop(name) for name in names], table.file.locate, reading)


def _each(names: Sequence[str], columns: list[Any], findings: Findings) -> Iterator[Cells]:
    """Yield the columns one by one, each let go before the next: text takes more memory than what is made of it."""
    columns.reverse()
    for name in names:
        yield Cells(name, columns.pop(), findings)


def _read_one(cells: Cells, data: DataParams, reading: Reading, dates: dict[str, str]) -> pd.Series | Numbers:
    kind = cells.texts.type
    categorical = cells.name in data.categorical
    dictionary = pa.types.is_dictionary(kind) and is_text(kind.value_type)
    said_dates = isinstance(data.dates, dict) and data.dates.get(cells.name) is not None
    if not (categorical or dictionary or said_dates or is_text(kind)):
        return read_native(cells)
    try:
        texts = cells.texts.cast(pa.large_string())
    except pa.ArrowException:
        cells.findings.add(f"holds {kind!s:.80}, which is no category", "take it out of data.categorical", cells.name)
        return read_text(Cells(cells.name, pa.nulls(len(cells.texts)), cells.findings))
    texts = pc.utf8_trim_whitespace(texts)
    missing = pa.array(sorted(reading.missing_texts(cells.name)), texts.type)
    known = pc.if_else(pc.is_in(texts, value_set=missing), pa.scalar(None, texts.type), texts)
    text = Cells(cells.name, known, cells.findings)
    return read_text(text) if categorical or dictionary else read_column(text, data, dates)


def _checked_names(header: Sequence[str], data: DataParams, findings: Findings) -> list[str]:
    """Return the columns' names without blanks around them and without line breaks.

    Reports a name that is missing, stands twice or cannot be shown, and one that params.yaml says and
    the table has not. A column without a name is called ``column 3`` under data.ignore.
    """
    names = [re.sub(r"\s*[\t\n\v\f\r]+\s*", " ", name.strip()) for name in header]
    for place, name in enumerate(names):
        if not name:
            names[place] = f"column {place + 1}"
            if names[place] not in data.ignore:
                findings.add(
                    f"{names[place]} has no name",
                    f"give it one in the header, or list {names[place]!r} under data.ignore",
                )
        if not name.isprintable() and re.search(r"[\x00-\x1f\x7f]", name):
            findings.add(f"the name of column {place + 1} holds a control character: {name!r}", "rename it")
    for name, times in Counter(names).items():
        if times > 1:
            first = names.index(name) + 1
            second = names.index(name, first) + 1
            findings.add(
                f"the column name {_shortened(name)} stands twice, in columns {first} and {second}", "rename one"
            )
    for key, name in _names_in_params(data):
        if name not in names:
            findings.add(f"params.yaml: data.{key}: no column {name!r} in the table", _nearest(name, names))
    return names


def _names_in_params(data: DataParams) -> Iterable[tuple[str, str]]:
    yield "target", data.target
    for key in ("ignore", "categorical", "strict", "missing", "dates"):
        value = getattr(data, key)
        if key in ("ignore", "categorical", "strict") or isinstance(value, dict):
            yield from ((key, name) for name in value if name != EVERY_COLUMN or key != "missing")


def _nearest(name: str, names: Sequence[str]) -> str:
    folded = {each.casefold(): each for each in reversed(names)}
    near = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1)
    shown = ", ".join(_shortened(each) for each in names[:_SHOWN_NAMES])
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    has = f"it has {shown}{more}"
    if near:
        return f"did you mean {folded[near[0]]!r}? {has}"
    return (
        f"{has}; line 1 must be a header; if cells are separated otherwise, set data.delimiter"
        if len(names) == 1
        else has
    )


def _shortened(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...")
