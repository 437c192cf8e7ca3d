"""POST /predict with a table as Parquet or as an Arrow IPC stream, answered in the same form.

Such a table is read from a file: Parquet's directory is its end. So the body is kept in a
temporary one, mapped into memory, and read in batches of a few thousand rows, each of which
is scored as the blocks of other tables are.
"""

import asyncio
import contextlib
import mmap
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from service.arrow import files
from service.arrow.columns import ArrowReader
from service.feedback.prediction_ids import PredictionIds
from service.http.exchange import Receive, read_pieces
from service.http.problems import Problem
from service.inputs.rows import Encoded, Unclear
from service.inputs.table_kinds import ARROW, PARQUET
from service.routes.table_forms import Form
from service.routes.tables import score_block
from service.scoring.serving import Scored, Served

_PIECE_BYTES: Final = 1024 * 1024
_ANSWERED_AT_ONCE: Final = 32_768
"""Rows of a row group or batch of the answer."""


async def score(  # noqa: PLR0913, PLR0917  # what a request is, and how large it may be
    media: bytes,
    served: Served,
    ids: PredictionIds | None,
    receive: Receive,
    out: IO[bytes],
    limit: int,
    turns: asyncio.Semaphore,
) -> int:
    """Read, score and write the whole table; gives the number of its rows.

    Its turn lasts from the first row to the last, since what is unpacked of it stays in memory meanwhile.
    """
    form = (_Parquet if media == PARQUET else _Arrow)(served, ids)
    with tempfile.TemporaryFile() as spooled:
        await _spool(receive, spooled)
        batches = files.guarded(form.batches(_map(spooled), limit))
        async with turns:
            with contextlib.closing(form):
                form.begin(out)
                while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                    await score_block(form, batch, out)
                if form.findings.count:
                    raise form.findings.problem()
                if not form.rows:
                    raise Problem(422, "The table has no rows", title="No instances")
                await asyncio.to_thread(form.finish)
    return form.rows


async def _spool(receive: Receive, spooled: IO[bytes]) -> None:
    waiting = bytearray()
    async for piece in read_pieces(receive):
        waiting += piece
        if len(waiting) >= _PIECE_BYTES:
            await asyncio.to_thread(spooled.write, waiting)
            waiting = bytearray()
    spooled.write(waiting)
    spooled.flush()


def _map(spooled: IO[bytes]) -> Any:
    """Give the file's bytes, of which only those that are looked at take memory."""
    if not spooled.tell():
        raise Problem(422, "The table has no rows", title="No instances")
    return pa.py_buffer(mmap.mmap(spooled.fileno(), 0, access=mmap.ACCESS_READ))


class _Columnar(Form):
    """A form whose blocks are record batches."""

    _reader: ArrowReader

    def __init__(self, served: Served, ids: PredictionIds | None) -> None:
        super().__init__(served, ids)
        self._waiting: list[Any] = []
        self._writer: Any = None
        self._schema = _answer_schema(served, ids=ids is not None)

    @abstractmethod
    def batches(self, body: Any, limit: int) -> Iterator[Any]:
        """Read the schema, check it, and give the table in batches that fit in memory."""

    @abstractmethod
    def begin(self, out: IO[bytes]) -> None:
        """Begin the answer."""

    def check(self, schema: Any) -> None:
        """Compare the table's columns with the contract."""
        self._reader = ArrowReader(self.served.contract, self.served.layout, schema)

    def read(self, block: Any) -> Encoded | None:
        reader = self._reader
        try:
            encoded: Encoded | None = reader.encode(block)
        except Unclear:
            encoded = self.closely(reader.instances(block))
        except pa.ArrowException as error:
            raise files.damaged(error) from None
        if encoded is not None and encoded.outside and self.served.layout.strict:
            instances = reader.instances(block)
            value = lambda row, feature: instances[row].get(feature.name)  # noqa: E731  # as short as a function would be long
            self.served.find_outside(encoded, value, self.findings, self.rows)
        return encoded

    def write(self, scored: Scored, out: IO[bytes]) -> None:
        del out
        self._waiting.append(_answer(self._schema, self.served, scored, self.ids))
        if sum(each.num_rows for each in self._waiting) >= _ANSWERED_AT_ONCE:
            self._write()

    def _write(self) -> None:
        whole = pa.Table.from_batches(self._waiting, self._schema).combine_chunks()
        self._waiting = []
        self._writer.write_table(whole)

    def finish(self) -> None:
        """Write what waits and the end."""
        if self._waiting:
            self._write()
        self._writer.close()
        self._writer = None

    def close(self) -> None:
        """Give up an answer that was not finished."""
        if self._writer is not None:
            with contextlib.suppress(pa.ArrowException, OSError, ValueError):
                self._writer.close()


class _Parquet(_Columnar):
    media = PARQUET

    def begin(self, out: IO[bytes]) -> None:
        self._writer = pq.ParquetWriter(out, self._schema)

    def batches(self, body: Any, limit: int) -> Iterator[Any]:
        return files.parquet_batches(body, limit, self.check)


class _Arrow(_Columnar):
    media = ARROW

    def begin(self, out: IO[bytes]) -> None:
        self._writer = pa.ipc.new_stream(out, self._schema)

    def batches(self, body: Any, limit: int) -> Iterator[Any]:
        return files.arrow_batches(body, limit, self.check)


def _answer_schema(served: Served, *, ids: bool) -> Any:
    labels = served.contract.classes
    kind = pa.array(list(labels)).type if labels else pa.float64()
    probabilities = [pa.field(f"probability_{name}", pa.float64(), nullable=False) for name in served.class_names]
    more = [pa.field("prediction_id", pa.string(), nullable=False)] if ids else []
    warnings = pa.field("warnings", pa.string())
    return pa.schema([pa.field("prediction", kind, nullable=False), *probabilities, warnings, *more])


def _answer(schema: Any, served: Served, scored: Scored, ids: PredictionIds | None) -> Any:
    warnings: list[str | None] = [None] * len(scored.numbers)
    for each in scored.outside:
        before = warnings[each.instance]
        warnings[each.instance] = f"{before + '; ' if before else ''}{each.feature.name} {each.kind}"
    columns: list[Any] = [scored.values]
    if served.class_names:
        columns = [scored.labels, *zip(*scored.values, strict=True)]
    columns += [warnings, *([ids.name(served, scored)] if ids else [])]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)
