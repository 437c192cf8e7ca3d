"""Read a CSV or Parquet table as typed columns, or report all its problems, one line each."""

import difflib
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import EVERY_COLUMN, Reading
from stages.entry import log
from stages.errors import UserError
from stages.params.sections import DataParams
from stages.table.column import read_column
from stages.table.csv import read_csv
from stages.table.findings import Cells, Findings
from stages.table.formats import is_parquet
from stages.table.numbers import Numbers, find_decimal, find_thousands
from stages.table.parquet import is_text, open_parquet, read_native

_SHOWN_NAMES = 20


def read_table(data: DataParams) -> tuple[pd.DataFrame, Reading]:
    """Return the table in `data.path` as `read_columns` reads it, and how its cells were read."""
    columns: dict[str, pd.Series] = {}
    with tempfile.TemporaryDirectory() as scratch:
        names, reading = read_columns(data, lambda column: columns.update({str(column.name): column}), Path(scratch))
    return pd.DataFrame({name: columns[name] for name in names}), reading


def read_columns(data: DataParams, keep: Callable[[pd.Series], None], scratch: Path) -> tuple[list[str], Reading]:
    """Read `data.path` column by column, without the ignored ones; return their names and how their cells were read.

    Each column goes to `keep`, in any order: float64 or int64 numbers, booleans, datetime64[us] (naive, UTC) or text;
    missing values are NaN, NaT or NA. Text is converted to the type that fits all cells of its column, in Parquet
    too, where other columns keep their types. The folder `scratch` takes what doesn't fit into memory.

    Raises UserError with one line for each problem: the file, the place and the remedy.
    """
    path = Path(data.path)
    try:
        rows, names, reading = _read(path, data, keep, scratch)
    except MemoryError:
        size = f"{path.stat().st_size / 1e6:,.0f} MB; in memory a table is several times as large as its file"
        remedy = "list columns under data.ignore, use fewer rows, or give more memory"
        raise UserError(f"{path}: needs more memory than there is ({size}); {remedy}") from None
    log(f"{rows:,} rows and {len(names):,} columns read from {path}")
    return names, reading


def _read(
    path: Path, data: DataParams, keep: Callable[[pd.Series], None], scratch: Path
) -> tuple[int, list[str], Reading]:
    findings = Findings(str(path), data.target)
    source = open_parquet(path) if is_parquet(path) else read_csv(data, findings, scratch)
    names = _check_names(source.names, data, findings)
    if len(set(names)) < len(names) or len(names) == 1:  # its cells would show the same problem again
        findings.stop(source.locate)
    dates: dict[str, str] = {}
    reading = source.reading.model_copy(update={"missing": data.missing_by_column, "dates": dates})
    places = {name: place for place, name in enumerate(names) if name not in data.ignore}

    def load(name: str) -> Cells:
        return _as_text(name, source.chunks(places[name]), reading, findings)

    numbers = []
    for name, place in places.items():
        column = _read_one(name, source.chunks(place), data, reading, findings)
        if isinstance(column, Numbers):
            numbers.append(column)
        else:
            keep(column)
    decimal = find_decimal(numbers, data.decimal, load)
    for each in numbers:
        keep(each.read(load(each.name), decimal))
    findings.stop(source.locate)
    thousands = find_thousands(numbers, decimal)
    return source.rows, list(places), reading.model_copy(update={"decimal": decimal, "thousands": thousands})


def _read_one(
    name: str, chunks: Iterator[pa.Array], data: DataParams, reading: Reading, findings: Findings
) -> pd.Series | Numbers:
    first = next(chunks)
    kind, chunks = first.type, chain([first], chunks)
    categorical = name in data.categorical or (pa.types.is_dictionary(kind) and is_text(kind))
    with_form = isinstance(data.dates, dict) and data.dates.get(name) is not None
    if not (categorical or with_form or is_text(kind)):
        return read_native(Cells(name, pa.chunked_array(chunks, kind), findings))
    try:
        text = _as_text(name, chunks, reading, findings)
    except pa.ArrowException:
        findings.add(f"holds {kind!s:.80}, which is no category", "take it out of data.categorical", name)
        return pd.Series(name=name)
    return text.as_text() if categorical else read_column(text, data, reading.dates)


def _as_text(name: str, chunks: Iterable[pa.Array], reading: Reading, findings: Findings) -> Cells:
    """Return the cells as text without blanks around it, null where it means a missing value."""
    text = pa.large_string()
    missing = pa.array(sorted(reading.missing_texts(name)), text)
    known = []
    for chunk in chunks:
        trimmed = pc.utf8_trim_whitespace(chunk.cast(text))
        known.append(pc.if_else(pc.is_in(trimmed, value_set=missing), pa.scalar(None, text), trimmed))
    return Cells(name, pa.chunked_array(known, text), findings)


def _check_names(header: Sequence[str], data: DataParams, findings: Findings) -> list[str]:
    """Return the columns' names without blanks around them and without line breaks.

    Reports a name that is missing or occurs twice, and one in params.yaml that the table does not
    have. A third column without a name is called ``column 3``, for data.ignore.
    """
    names = [re.sub(r"\s*[\t\n\v\f\r]+\s*", " ", name.strip()) for name in header]
    names = [name or f"column {place}" for place, name in enumerate(names, start=1)]
    for name, title in zip(names, header, strict=True):
        if not title.strip() and name not in data.ignore:
            findings.add(f"{name} has no name", f"give it one, or list {name!r} under data.ignore")
    for name in (name for name, times in Counter(names).items() if times > 1):
        first, second = [place for place, each in enumerate(names, start=1) if each == name][:2]
        findings.add(f"the column name {name!r:.60} occurs twice, in columns {first} and {second}", "rename one")
    named = {"target": [data.target], "ignore": data.ignore, "categorical": data.categorical, "strict": data.strict}
    named |= {"weight": [data.weight] if data.weight else []}
    named |= {key: list(value) for key in ("missing", "dates") if isinstance(value := getattr(data, key), dict)}
    for key, name in ((key, name) for key, columns in named.items() for name in columns):
        if name not in names and (key, name) != ("missing", EVERY_COLUMN):
            findings.add(f"params.yaml: data.{key}: no column {name!r} in the table", _suggest(name, names))
    return names


def _suggest(name: str, names: Sequence[str]) -> str:
    folded = {each.casefold(): each for each in reversed(names)}
    near = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1)
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    has = f"it has {', '.join(f'{each!r:.60}' for each in names[:_SHOWN_NAMES])}{more}"
    has += "; line 1 must be a header; if another delimiter separates the cells, set data.delimiter" * (len(names) == 1)
    return f"did you mean {folded[near[0]]!r}? {has}" if near else has
