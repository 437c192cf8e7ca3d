"""A Parquet file as columns in their own types."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from service.cells import Reading
from stages.entry import log
from stages.errors import UserError
from stages.table.dates import read_moments
from stages.table.findings import FIRST_ROW, LEAVE_OUT, Cells, Source
from stages.table.numbers import LARGEST_EXACT, report_unfit

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")
_NO_FEATURE = "turn it into numbers or text, or list it under data.ignore"
_TIME = f"turn it into numbers, or {LEAVE_OUT}"


def open_parquet(path: Path) -> Source:
    """Return the file's columns, read one by one. Raises UserError if it is damaged or has no rows."""
    # In microseconds dates up to the year 9999 fit; INT96 in nanoseconds turns 9999-12-31 into 1816.
    file = _guarded(path, lambda: pyarrow.parquet.ParquetFile(path, coerce_int96_timestamp_unit="us"))
    if file.metadata.num_rows == 0:
        raise UserError(f"{path}: has columns and no rows; write it anew with rows")
    names = [name for name in file.schema_arrow.names if not _UNNAMED_INDEX.fullmatch(name)]
    if len(names) < len(file.schema_arrow.names):
        log(f"{path}: the unnamed index of a pandas table is left out")

    def read(place: int) -> pa.ChunkedArray:
        # On one thread: one that cannot start, for want of memory, ends the process.
        return _guarded(path, lambda: file.read(columns=[names[place]], use_threads=False))[names[place]]

    return Source(names, read, lambda rows: {row: f"row {row + FIRST_ROW}" for row in rows}, Reading())


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, MemoryError) or "malloc" in str(error) or "bad_alloc" in str(error):
            raise MemoryError(str(error)) from error
        raise UserError(f"{path}: is a damaged Parquet file ({' '.join(str(error).split())}); write it anew") from None


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def read_native(cells: Cells) -> pd.Series:
    """Return a column in the type that stands in the file; a dictionary of text holds categories.

    Reports a type that is neither number, truth value, date nor text, and values that a feature cannot hold.
    """
    column, kind = cells.texts, cells.texts.type
    if pa.types.is_dictionary(kind):
        return read_native(Cells(cells.name, column.cast(kind.value_type), cells.findings))
    if is_text(kind):
        series: pd.Series[Any] = column.cast(pa.large_string()).to_pandas().astype("str")
    elif pa.types.is_boolean(kind):
        series = column.to_pandas().astype("boolean" if column.null_count else "bool")
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        series = read_moments(cells, column)
    elif pa.types.is_null(kind):
        series = pd.Series(np.full(len(column), np.nan))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        series = _read_numbers(cells)
    else:
        cells.findings.add(f"holds {kind!s:.80}", _TIME if pa.types.is_time(kind) else _NO_FEATURE, cells.name)
        series = pd.Series(np.full(len(column), np.nan))
    return series.rename(cells.name)


def _read_numbers(cells: Cells) -> pd.Series:
    """Return int64 if the type is of whole numbers and none is missing, else float64 with NaN."""
    column, kind = cells.texts, cells.texts.type
    whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
    if not whole or any(abs(bound or 0) > LARGEST_EXACT for bound in pc.min_max(column).as_py().values()):
        numbers = pc.cast(column, pa.float64(), safe=False).to_numpy()  # NaN where missing
        report_unfit(cells, numbers)
        return pd.Series(numbers)
    series: pd.Series[Any] = pc.cast(column, pa.float64() if column.null_count else pa.int64()).to_pandas()
    return series
