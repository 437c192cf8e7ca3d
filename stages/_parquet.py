"""A Parquet file as columns in their own types."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from stages._cells import Cells, booleans, count, read_text
from stages._dates import naive, read_iso
from stages._entry import log
from stages._errors import UserError
from stages._numbers import LARGEST_EXACT, finite, inexact

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")
_WHOLE = pa.decimal256(76, 0)
_WIDEST = 64
_LEAVE_OUT = "turn it into numbers or text, or list it under data.ignore"


class ParquetFile:
    """A Parquet file that is read column by column, or the one line that says why it cannot be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _guarded(path, lambda: pyarrow.parquet.ParquetFile(path))
        if self._file.metadata.num_rows == 0:
            raise UserError(f"{path}: has columns and no rows; write it anew with rows")
        every = self._file.schema_arrow.names
        self.names = [name for name in every if not _UNNAMED_INDEX.fullmatch(name)]
        if len(self.names) < len(every):
            log(f"{path}: the unnamed index of a pandas table is left out")

    def columns(self, names: Sequence[str]) -> list[pa.ChunkedArray]:
        """Read the columns of these names, in this order."""
        table = _guarded(self.path, lambda: self._file.read(columns=list(names)))
        return [table[name] for name in names]


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: is a damaged Parquet file ({' '.join(str(error).split())}); write it anew") from None


def read_native(cells: Cells) -> pd.Series:
    """Give a column in the type that stands in the file: text stays text, unless all of it is dates in ISO 8601.

    Raises UserError for a type that is neither number, truth value, date nor text, and for
    values that a feature cannot hold.
    """
    kind = cells.column.type
    for is_kind, reader in _READERS:
        if is_kind(kind):
            return reader(cells).rename(cells.name)
    raise UserError(f"{cells.path}: column {cells.name!r} holds {kind!s:.80}; {_LEAVE_OUT}")


def _read_categories(cells: Cells) -> pd.Series:
    """Give a dictionary's values; of text they are categories, even if they look like dates."""
    decoded = replace(cells, column=cells.column.cast(cells.column.type.value_type))
    return read_text(decoded) if _is_text(decoded.column.type) else read_native(decoded)


def _read_strings(cells: Cells) -> pd.Series:
    text = replace(cells, column=cells.column.cast(pa.large_string()))
    dates = read_iso(text) if text.known else None
    return read_text(text) if dates is None else dates


def _read_times(cells: Cells) -> pd.Series:
    return read_text(replace(cells, column=cells.column.cast(pa.string())))


def _read_nothing(cells: Cells) -> pd.Series:
    return pd.Series(np.full(len(cells.column), np.nan))


def _read_integers(cells: Cells) -> pd.Series:
    """Give int64 if none is missing, else float64 with NaN."""
    kind = cells.column.type
    if kind.bit_width == _WIDEST:
        beyond = pc.greater(cells.column, pa.scalar(LARGEST_EXACT, kind))
        if pa.types.is_signed_integer(kind):
            beyond = pc.or_(beyond, pc.less(cells.column, pa.scalar(-LARGEST_EXACT, kind)))
        _refuse_inexact(cells, beyond)
    wanted = pa.float64() if cells.column.null_count else pa.int64()
    series: pd.Series[Any] = cells.column.cast(wanted).to_pandas()
    return series


def _read_decimals(cells: Cells) -> pd.Series:
    """Give int64 where the type has no fraction and none is missing, else float64 with NaN."""
    kind = cells.column.type
    if kind.scale > 0:
        return _read_fractions(cells)
    whole = cells.column.cast(_WHOLE)
    _refuse_inexact(cells, pc.greater(pc.abs(whole), pa.scalar(LARGEST_EXACT).cast(_WHOLE)))
    return _read_integers(replace(cells, column=whole.cast(pa.int64())))


def _read_fractions(cells: Cells) -> pd.Series:
    return finite(cells, cells.column.cast(pa.float64()))


def _refuse_inexact(cells: Cells, beyond: pa.ChunkedArray) -> None:
    if count(beyond):
        raise inexact(cells, pc.index(beyond, value=True).as_py())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Cells], pd.Series]], ...] = (
    (_is_text, _read_strings),
    (pa.types.is_dictionary, _read_categories),
    (pa.types.is_integer, _read_integers),
    (pa.types.is_floating, _read_fractions),
    (pa.types.is_decimal, _read_decimals),
    (pa.types.is_boolean, lambda cells: booleans(cells.column)),
    (_is_moment, lambda cells: naive(cells, cells.column)),
    (pa.types.is_time, _read_times),
    (pa.types.is_null, _read_nothing),
)
