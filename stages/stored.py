"""A table in a Parquet file that may be larger than memory: read by columns or by batches, written by row groups."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 1 << 20
"""The most rows of a row group, as Arrow's default."""
ROW_GROUP_BYTES = 1 << 27
"""A row group also ends after the batch with which it reaches these bytes in memory, so that many columns fit."""
BATCH = 1 << 16
"""The rows of a batch: its numbers fit into a processor's cache, or nearly."""
_BATCH_CELLS = 1 << 22
"""The most cells of a batch: with more than 64 columns, it has fewer rows."""
READ_AHEAD = 1 << 18
"""The bytes that are read at a time from a column; else Arrow keeps the columns of all row groups that it has read."""
_TAKEN_AT_ONCE = 1 << 14
"""The rows that are read at a time if only some of them are wanted."""


class Table(Protocol):
    """What a DataFrame and a `StoredTable` have in common: columns that are read one at a time."""

    @property
    def columns(self) -> Any:
        """The names."""

    def __len__(self) -> int: ...

    def __contains__(self, name: object, /) -> bool: ...

    @overload
    def __getitem__(self, name: str, /) -> pd.Series: ...

    @overload
    def __getitem__(self, names: list[str], /) -> pd.DataFrame: ...


class StoredTable:
    """The table in a Parquet file; `table[name]` and `table[[name, …]]` read these columns, as pandas would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=READ_AHEAD)
        self.columns: list[str] = list(self._file.schema_arrow.names)
        self.metadata: dict[bytes, bytes] = self._file.schema_arrow.metadata or {}

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def __contains__(self, name: object, /) -> bool:
        return name in self.columns

    @overload
    def __getitem__(self, name: str, /) -> pd.Series: ...

    @overload
    def __getitem__(self, names: list[str], /) -> pd.DataFrame: ...

    def __getitem__(self, names: str | list[str], /) -> pd.Series | pd.DataFrame:
        pa.default_memory_pool().release_unused()  # what the last column took and Arrow kept for the next one
        # On one thread, because a thread that lacks the memory to start ends the process.
        wanted = [names] if isinstance(names, str) else names
        frame: pd.DataFrame = self._file.read(wanted, use_threads=False).select(wanted).to_pandas(split_blocks=True)
        return frame[names] if isinstance(names, str) else frame

    def batches(
        self, names: Sequence[str] | None = None, rows: int | None = None, groups: Sequence[int] | None = None
    ) -> Iterator[pd.DataFrame]:
        """Yield these columns (all: None) as frames, in the file's order; each counts from 0.

        A frame has up to `rows` rows (None: a batch). `groups` are the row groups to read (all: None).
        """
        wanted = self.columns if names is None else list(names)
        rows = rows or _batch_rows(len(wanted))
        pa.default_memory_pool().release_unused()
        for batch in self._file.iter_batches(rows, groups, columns=wanted, use_threads=False):
            yield pa.Table.from_batches([batch]).select(wanted).to_pandas(split_blocks=True)

    def take(self, places: npt.NDArray[np.integer[Any]], names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows at these places, which may come in any order and repeat; only their row groups are read."""
        wanted, inverse = np.unique(places, return_inverse=True)
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        ends = np.cumsum([0, *sizes])
        parts = list[pd.DataFrame]()
        for group in np.unique(np.searchsorted(ends, wanted, side="right") - 1).tolist() or [0]:
            start = ends[group]
            for batch in self.batches(names, _TAKEN_AT_ONCE, [group]):
                first, last = np.searchsorted(wanted, [start, start + len(batch)])
                parts.append(batch.iloc[wanted[first:last] - start])
                start += len(batch)
        rows = pd.concat(parts, ignore_index=True)
        return rows if np.array_equal(wanted, places) else rows.take(inverse.reshape(-1)).reset_index(drop=True)


def _batch_rows(columns: int) -> int:
    return max(1, min(BATCH, _BATCH_CELLS // columns)) if columns else BATCH


def batches(table: Table, rows: int | None = None) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table, whether it is in memory or not, as frames of up to `rows` rows (None: a batch)."""
    rows = rows or _batch_rows(len(table.columns))
    if isinstance(table, StoredTable):
        yield from table.batches(rows=rows)
    else:
        for start in range(0, len(table), rows):
            yield table.iloc[start : start + rows]  # type: ignore[attr-defined]


def pieces(table: Table, name: str) -> Iterator[pd.Series]:
    """Yield a column, as `batches` yields all."""
    if isinstance(table, StoredTable):
        yield from (batch[name] for batch in table.batches([name]))
    else:
        yield table[name]


def take(table: Table, places: npt.NDArray[np.integer[Any]]) -> pd.DataFrame:
    """Return the rows at these places of a table, whether it is in memory or not."""
    if isinstance(table, StoredTable):
        return table.take(places)
    return table.iloc[places]  # type: ignore[attr-defined,no-any-return]


def every_nth(table: Table, most: int) -> pd.DataFrame:
    """Return every n-th row, at most `most`."""
    return take(table, np.arange(0, len(table), -(-len(table) // most)))


class Writer:
    """Writes frames as row groups; the bytes of small ones are those of `DataFrame.to_parquet`."""

    def __init__(self, path: Path, metadata: dict[bytes, bytes]) -> None:
        self._path = path
        self._metadata = metadata
        self._file: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    def add(self, rows: pd.DataFrame) -> None:
        """Add the next rows, which have the columns and types of the first."""
        self.add_arrow(pa.Table.from_pandas(rows, preserve_index=False, nthreads=1))

    def add_arrow(self, rows: pa.Table) -> None:
        """Add the next rows."""
        if self._file is None:
            schema = rows.schema.with_metadata({**(rows.schema.metadata or {}), **self._metadata})
            self._file = pq.ParquetWriter(self._path, schema)
        self._waiting.append(rows)
        while (
            sum(map(len, self._waiting)) >= ROW_GROUP or sum(each.nbytes for each in self._waiting) >= ROW_GROUP_BYTES
        ):
            self._end_group(self._file)

    def _end_group(self, file: pq.ParquetWriter) -> None:
        """Write the rows that wait as a row group, or as many as one may have."""
        rows = pa.concat_tables(self._waiting)
        # An empty rest would hold the memory of all rows.
        self._waiting = [rows.slice(ROW_GROUP)] if len(rows) > ROW_GROUP else []
        file.write_table(rows.slice(0, ROW_GROUP), ROW_GROUP)
        del rows
        pa.default_memory_pool().release_unused()

    def close(self) -> None:
        """Write the rows that are left, and the end of the file."""
        if self._file is not None:
            if sum(map(len, self._waiting)):
                self._end_group(self._file)
            self._file.close()

    def abandon(self) -> None:
        """Leave the file incomplete; otherwise Arrow tries to write its end later, and prints what goes wrong."""
        if self._file is not None:
            self._file.is_open = False


@contextlib.contextmanager
def writing(path: Path, metadata: dict[bytes, bytes] | None = None) -> Iterator[Writer]:
    """Yield a writer of a Parquet file, which is complete after the block; `files.replacing` gives a path for it."""
    writer = Writer(path, metadata or {})
    try:
        yield writer
        writer.close()
    except BaseException:
        writer.abandon()
        raise
