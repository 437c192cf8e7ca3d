"""Write answers as CSV or Parquet."""

import csv
import io
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from stages.errors import UserError
from stages.partitions.storage import HashedFile

Form = Literal["csv", "parquet", "arrow"]
GROUP_ROWS: Final = 1 << 17
"""The rows of a row group."""
_SPECIAL: Final = '[",\r\n]'


class Writer(ABC):
    """Writes rows in one format."""

    @abstractmethod
    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Write rows; the columns are the same each time."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left."""


def open_writer(form: Form, out: HashedFile, *, with_header: bool = True) -> Writer:
    """Return a writer of answers to `out`, which stays open."""
    if form == "csv":
        return _Csv(out, with_header=with_header)
    return _Parquet(out) if form == "parquet" else _Arrow(out)


class _Csv(Writer):
    """CSV with commas; numbers have the fewest digits from which they come back."""

    def __init__(self, out: HashedFile, *, with_header: bool) -> None:
        self._out = out
        self._with_header = with_header

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        if self._with_header:
            self._with_header = False
            self._out.write(csv_header(list(columns)))
        rows = len(columns["prediction"])
        if rows:
            texts = [_to_text(name, column) for name, column in columns.items()]
            joined = pc.binary_join_element_wise(*texts, ",")
            ends = pa.array(["\n"]).take(pa.nulls(rows, pa.int8()).fill_null(0))
            self._out.write(_content(pc.binary_join_element_wise(joined, ends, "")))

    def close(self) -> None:
        pass


class _Parquet(Writer):
    """Parquet with row groups of the same size."""

    _writer: pyarrow.parquet.ParquetWriter | None = None

    def __init__(self, out: HashedFile) -> None:
        self._out = pa.PythonFile(out, "w")
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        batch = pa.RecordBatch.from_pydict(dict(columns))
        self._writer = self._writer or self._open(batch.schema)
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= GROUP_ROWS:
            self._write()

    def _write(self) -> None:
        if self._writer and self._rows:
            table = pa.Table.from_batches(self._waiting)
            whole = table.num_rows - table.num_rows % GROUP_ROWS or table.num_rows
            self._writer.write_table(table.slice(0, whole), GROUP_ROWS)
            self._waiting = table.slice(whole).to_batches()
            self._rows = table.num_rows - whole

    def close(self) -> None:
        self._write()
        if self._writer:
            self._writer.add_key_value_metadata({"ARROW:schema": b64encode(self._schema.serialize())})
            self._writer.close()

    def _open(self, schema: pa.Schema) -> pyarrow.parquet.ParquetWriter:
        """Return a writer. Categories are written quickly, but their type is that of the values, such as text."""
        self._schema = pa.schema([pa.field(each.name, plain_type(each.type)) for each in schema])
        # A dictionary of numbers that hardly recur takes five times as long.
        categories = {each.name for each in schema if pa.types.is_dictionary(each.type)}
        recurring = [each.name for each in schema if each.name in categories or is_text(each.type)]
        # The least and greatest category help no reader, and take as long as all other statistics.
        compared = [each.name for each in schema if each.name not in categories]
        return pyarrow.parquet.ParquetWriter(
            self._out, schema, use_dictionary=recurring, write_statistics=compared, store_schema=False
        )


class _Arrow(Writer):
    """Arrow's own format, which is the quickest to read again."""

    _writer: pa.ipc.RecordBatchStreamWriter | None = None

    def __init__(self, out: HashedFile) -> None:
        self._out = pa.PythonFile(out, "w")

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        batch = pa.RecordBatch.from_pydict(dict(columns))
        self._writer = self._writer or pa.ipc.new_stream(self._out, batch.schema)
        self._writer.write_batch(batch)

    def close(self) -> None:
        if self._writer:
            self._writer.close()


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values, if they have a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def csv_header(names: Sequence[str]) -> bytes:
    """Return the first line."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(names)
    return line.getvalue().encode()


def _content(texts: pa.StringArray) -> memoryview:
    """Return all texts, one after the other."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(texts.buffers()[2])[offsets[0] : offsets[-1]]


def _to_text(name: str, column: pa.Array) -> pa.Array:
    try:
        return _cells(column)
    except (pa.ArrowException, TypeError):  # bytes that are no text, durations, bytes in lists
        kind = column.type
        raise UserError(
            f"the column {name!r} has the type {kind}, which CSV can't hold; write .parquet or name others with --keep"
        ) from None


def _cells(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        return _from_floats(column)
    if pa.types.is_dictionary(column.type):
        return _cells(column.dictionary).take(column.indices).fill_null("")
    if pa.types.is_nested(column.type):
        values = [each if each is None else orjson.dumps(each).decode() for each in column.to_pylist()]
        column = pa.array(values, pa.string())
    texts = column.cast(pa.string()).fill_null("")
    if not pa.types.is_primitive(column.type):
        special = pc.match_substring_regex(texts, _SPECIAL)
        if pc.any(special).as_py():
            quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
            texts = pc.if_else(special, quoted, texts)
    return texts


def _from_floats(column: pa.Array) -> pa.Array:
    """Return numbers as Python writes them, after float32 is shortened; a missing one is empty."""
    values = column.to_numpy(zero_copy_only=False)
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode()
    texts = pc.split_pattern(pa.array([text]), ",").flatten()
    unlike = pc.or_(pc.match_substring_regex(texts, "^-?0[.]0000"), pc.match_substring(texts, "e"))
    if pc.any(unlike).as_py():
        changed = [repr(float(each)) for each in texts.filter(unlike).to_pylist()]
        texts = pc.replace_with_mask(texts, unlike, pa.array(changed))
    nulls = pc.equal(texts, "null")
    return pc.if_else(nulls, "", texts) if pc.any(nulls).as_py() else texts
