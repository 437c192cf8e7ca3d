"""Parquet files and Arrow streams that strangers sent, in batches of rows that fit in memory."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from service.arrow_columns import is_text
from service.problems import Problem

_BATCH_ROWS: Final = 4096

Check = Callable[[Any], Any]
"""Raises Problem for a schema that the contract does not have."""


def guarded(batches: Iterator[Any]) -> Iterator[Any]:
    """Give what `batches` gives; raises Problem (400) where the table is damaged."""
    try:
        yield from batches
    except (pa.ArrowException, OSError, ValueError, KeyError, EOFError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Problem(400, f"The table cannot be read: {_line(error)}", title="Damaged table") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def parquet_batches(body: Any, limit: int, check: Check) -> Iterator[Any]:
    """Read Parquet."""
    metadata = pq.read_metadata(pa.BufferReader(body))
    schema = metadata.schema.to_arrow_schema()
    check(schema)
    texts = [field.name for field in schema if is_text(field.type)]
    file = pq.ParquetFile(
        pa.BufferReader(body), metadata=metadata, read_dictionary=texts, pre_buffer=False, arrow_extensions_enabled=False
    )
    for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
        batch.validate(full=True)
        yield batch


def arrow_batches(body: Any, limit: int, check: Check) -> Iterator[Any]:
    """Read a stream of record batches."""
    with pa.ipc.open_stream(pa.BufferReader(body)) as stream:
        check(stream.schema)
        for batch in stream:
            batch.validate(full=True)
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(start, _BATCH_ROWS)
