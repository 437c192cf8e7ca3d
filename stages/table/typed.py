"""The typed table: the raw table as `validate` parsed it, so that later stages don't parse it again."""

from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.ipc

from service.cells import Reading
from stages.errors import UserError
from stages.stored import StoredTable, writing

_RULES = b"reading"
_PIECE = 1 << 14
"""The rows of all columns that are in memory at once."""


class TypedColumns:
    """Typed columns on their way to a Parquet file, which needs the first rows of all columns first."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "typed"
        self._path.touch()
        self._empty: dict[str, pd.Series] = {}
        self._places: dict[str, list[tuple[int, int]]] = {}

    def add(self, column: pd.Series) -> None:
        """Write a column to the folder."""
        name = str(column.name)
        self._empty[name] = pd.Series([], dtype=column.dtype)
        cells = pa.Table.from_pandas(column.to_frame(), preserve_index=False, nthreads=1)
        with self._path.open("ab") as file:
            self._places[name] = [
                (file.tell(), file.write(_one_batch(cells.slice(start, _PIECE)).serialize()))
                for start in range(0, len(cells), _PIECE)
            ]

    def write(self, names: list[str], reading: Reading, path: Path) -> None:
        """Write the columns with these names as Parquet, with the rules for reading its cells in its metadata."""
        schema = pa.Schema.from_pandas(pd.DataFrame({name: self._empty[name] for name in names}), preserve_index=False)
        with self._path.open("rb") as file, writing(path, {_RULES: reading.model_dump_json().encode()}) as writer:
            for places in zip(*(self._places[name] for name in names), strict=True):
                writer.add_arrow(_read_rows(file, places, schema))


def _one_batch(rows: pa.Table) -> pa.RecordBatch:
    (batch,) = rows.combine_chunks().to_batches()
    return batch


def _read_rows(file: BinaryIO, places: tuple[tuple[int, int], ...], schema: pa.Schema) -> pa.Table:
    """Return the rows whose columns are at these places in the file: where each starts, and its bytes."""
    columns = []
    for (start, size), field in zip(places, schema, strict=True):
        file.seek(start)
        columns.append(pa.ipc.read_record_batch(pa.py_buffer(file.read(size)), pa.schema([field])).column(0))
    return pa.Table.from_arrays(columns, schema=schema)


def open_typed(path: Path) -> tuple[StoredTable, Reading]:
    """Return the typed table, and the rules for reading its cells. Raises UserError if the file is missing."""
    if not path.is_file():
        raise UserError(f"{path}: not found; run `dvc repro validate`, which writes it")
    table = StoredTable(path)
    return table, Reading.model_validate_json(table.metadata[_RULES])
