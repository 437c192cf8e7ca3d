"""Read a Parquet file as columns in the file's types."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from service.cells import Reading
from stages.errors import UserError
from stages.stored import BATCH, READ_AHEAD
from stages.table.dates import read_moments
from stages.table.findings import FIRST_ROW, LEAVE_OUT, Cells, Source
from stages.table.numbers import report_unfit

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")


def open_parquet(path: Path) -> Source:
    """Return the file's columns, read one by one. Raises UserError if it is damaged or has no rows."""
    # Microseconds allow dates up to the year 9999; in nanoseconds, INT96 would turn 9999-12-31 into 1816.
    file = _guarded(
        path,
        lambda: pyarrow.parquet.ParquetFile(
            path, coerce_int96_timestamp_unit="us", pre_buffer=False, buffer_size=READ_AHEAD
        ),
    )
    if file.metadata.num_rows == 0:
        raise UserError(f"{path}: has columns and no rows; write it again with rows")
    names = [name for name in file.schema_arrow.names if not _UNNAMED_INDEX.fullmatch(name)]

    def read(place: int) -> Iterator[pa.Array]:
        # On one thread, because a thread that lacks the memory to start ends the process.
        batches = file.iter_batches(BATCH, columns=[names[place]], use_threads=False)
        while (batch := _guarded(path, lambda: next(batches, None))) is not None:
            yield batch.column(names[place])

    def locate(rows: Iterable[int]) -> dict[int, str]:
        return {row: f"row {row + FIRST_ROW}" for row in rows}

    return Source(names, read, file.metadata.num_rows, locate, Reading())


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, MemoryError) or "malloc" in str(error) or "bad_alloc" in str(error):
            raise MemoryError(str(error)) from error
        raise UserError(f"{path}: is a damaged Parquet file ({' '.join(str(error).split())}); write it again") from None


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text, or categories that are text."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def read_native(cells: Cells) -> pd.Series:
    """Return a column in the file's own type: a number, truth value or date.

    Reports another type, and values that a feature cannot hold.
    """
    column, kind = cells.texts, cells.texts.type
    series: pd.Series[Any] = pd.Series(np.full(len(column), np.nan))
    if pa.types.is_dictionary(kind):
        return read_native(Cells(cells.name, column.cast(kind.value_type), cells.findings))
    if pa.types.is_boolean(kind):
        series = column.to_pandas().astype("boolean" if column.null_count else "bool")
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        series = read_moments(cells, column)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = cells.floats()
        whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
        fits = report_unfit(cells, numbers)
        series = pd.Series(numbers.astype(np.int64) if whole and fits and not column.null_count else numbers)
    elif not pa.types.is_null(kind):
        remedy = f"turn it into numbers or text, or {LEAVE_OUT}"
        cells.findings.add(f"holds {kind!s:.80}", remedy, cells.name)
    return series.rename(cells.name)
