"""Read any CSV or Parquet table into typed columns, or say all that is wrong with it, a line each."""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from service.cells import EVERY_COLUMN, Reading
from stages.entry import log
from stages.errors import UserError
from stages.params import DataParams
from stages.table.csv import read_csv
from stages.table.findings import Cells, Findings, read_text
from stages.table.formats import is_parquet
from stages.table.infer import read_column
from stages.table.numbers import Numbers, convert, find_marks
from stages.table.parquet import is_text, open_parquet, read_native

_SHOWN_NAMES = 20
_LONGEST_NAME = 60


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
    findings = Findings(str(path), data.target)
    source = open_parquet(path) if is_parquet(path) else read_csv(data, findings)
    names = _checked_names(source.names, data, findings)
    if len(set(names)) < len(names) or len(names) == 1:  # its cells would only tell of it again
        findings.stop(source.locate)
    dates: dict[str, str] = {}
    reading = source.reading.model_copy(update={"missing": data.missing_by_column})
    series = [
        _read_one(Cells(name, source.column(place), findings), data, reading, dates)
        for place, name in enumerate(names)
        if name not in data.ignore
    ]
    decimal, thousands = find_marks([each for each in series if isinstance(each, Numbers)], data.decimal)
    done = [convert(each, decimal) if isinstance(each, Numbers) else each for each in series]
    findings.stop(source.locate)
    update = {"decimal": decimal, "thousands": thousands, "dates": dates}
    return pd.DataFrame({each.name: each for each in done}), reading.model_copy(update=update)


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
    for place, name in enumerate(names, start=1):
        if not name:
            names[place - 1] = f"column {place}"
            if names[place - 1] not in data.ignore:
                findings.add(f"column {place} has no name", f"give it one, or list 'column {place}' under data.ignore")
        if re.match(r'\s+"', header[place - 1]):
            findings.add(f"the name of column {place} has a quote after a blank", "remove the blanks before quotes")
        if re.search(r"[\x00-\x1f\x7f]", name):
            findings.add(f"the name of column {place} holds a control character: {name!r}", "rename it")
    for name in (name for name, times in Counter(names).items() if times > 1):
        first, second = [place for place, each in enumerate(names, start=1) if each == name][:2]
        findings.add(f"the column name {_shortened(name)} stands twice, in columns {first} and {second}", "rename one")
    said = {"target": [data.target], "ignore": data.ignore, "categorical": data.categorical, "strict": data.strict}
    said |= {key: list(value) for key in ("missing", "dates") if isinstance(value := getattr(data, key), dict)}
    for key, name in ((key, name) for key, columns in said.items() for name in columns):
        if name not in names and (key, name) != ("missing", EVERY_COLUMN):
            findings.add(f"params.yaml: data.{key}: no column {name!r} in the table", _nearest(name, names))
    return names


def _nearest(name: str, names: Sequence[str]) -> str:
    folded = {each.casefold(): each for each in reversed(names)}
    near = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1)
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    has = f"it has {', '.join(map(_shortened, names[:_SHOWN_NAMES]))}{more}"
    if len(names) == 1:
        has += "; line 1 must be a header; if cells are separated otherwise, set data.delimiter"
    return f"did you mean {folded[near[0]]!r}? {has}" if near else has


def _shortened(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...")
