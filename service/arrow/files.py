"""Parquet files and Arrow streams that strangers sent, in batches of rows that fit in memory."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from service.arrow.columns import is_text
from service.arrow.messages import Watch
from service.arrow.parquet_pages import check_pages, count_rows, read_directory
from service.http.problems import Problem

_BATCH_ROWS: Final = 4096
_ROWS: Final = 1_000_000
"""What a table of any size may have; beyond, one row for each byte, or an answer of gigabytes would cost nothing."""
_ROW_GROUP: Final = 4
"""Times a body's limit that the pages of a row group may take: a wide table has many."""

Check = Callable[[Any], Any]
"""Raises Problem for a schema that the contract does not have."""


def guarded(batches: Iterator[Any]) -> Iterator[Any]:
    """Give what `batches` gives; raises Problem (400) where the table is damaged."""
    try:
        yield from batches
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(error) from None


def damaged(error: Exception) -> Problem:
    """Say that a table cannot be read, and why."""
    why = "something in it is missing" if isinstance(error, LookupError) else " ".join(str(error).split())[:200]
    return Problem(400, f"The table cannot be read: {why}", title="Damaged table")


def parquet_batches(body: Any, limit: int, check: Check) -> Iterator[Any]:
    """Read Parquet, of which some thousand rows are unpacked at a time.

    Text stays in dictionaries, as in the file: spelt out, one long text could fill the memory.
    """
    content = memoryview(body).cast("B")
    groups = read_directory(content, limit // 16)
    metadata = pq.read_metadata(pa.BufferReader(body))
    schema = metadata.schema.to_arrow_schema()
    check(schema)
    _check_rows(count_rows(groups), body)
    check_pages(content, groups, limit * _ROW_GROUP)
    texts = [field.name for field in schema if is_text(field.type)]
    file = pq.ParquetFile(pa.BufferReader(body), metadata=metadata, read_dictionary=texts, pre_buffer=False)
    for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
        batch.validate(full=True)
        yield batch


def arrow_batches(body: Any, limit: int, check: Check) -> Iterator[Any]:
    """Read a stream of record batches."""
    watch, rows = Watch(limit), 0
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(body)):
        watch.check(message)
    with pa.ipc.open_stream(pa.BufferReader(body)) as stream:
        check(stream.schema)
        for batch in stream:
            rows += batch.num_rows
            _check_rows(rows, body)
            _check_views(batch, limit)
            batch.validate(full=True)
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(start, _BATCH_ROWS)


def _check_rows(rows: int, body: Any) -> None:
    most = max(_ROWS, body.size)
    if rows > most:
        raise Problem(413, f"The table has {rows:,} rows, where {most:,} are taken for its size; send it in parts")


def _check_views(batch: Any, limit: int) -> None:
    """Raise ValueError if views name the same text over and over, so that it would be gigabytes spelt out."""
    for column in batch.columns:
        texts = column.dictionary if pa.types.is_dictionary(column.type) else column
        if pa.types.is_string_view(texts.type):
            buffers = [each for each in texts.buffers() if each is not None]
            lengths = np.frombuffer(texts.buffers()[1] or b"", dtype="<i4")[::4]
            if len(lengths) and (lengths.min() < 0 or lengths.sum(dtype=np.int64) > limit + sum(map(len, buffers))):
                raise ValueError("text in views is larger than the table")
