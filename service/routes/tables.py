"""POST /predict with a table: read CSV or NDJSON of any length, and answer in the same format.

The service reads and scores one block of rows after the other, so memory is constant. It writes
the response to a temporary file and sends it after the last row. So a client can send everything
before it reads, and the response is complete: all rows scored by one model version, or a problem
with the rows that are wrong. After 20 errors it stops reading at the end of the block.
"""

import asyncio
import contextlib
import csv
import errno
import tempfile
from collections.abc import Iterator
from typing import IO, Final

from starlette.types import Receive, Send

from service.feedback import PredictionIds
from service.http.exchange import read_pieces
from service.http.problems import Problem
from service.routes.predict import Table
from service.routes.table_forms import CSV, NDJSON, Csv, Form, Ndjson
from service.scoring.serving import Cover, Served
from service.settings import Settings

_BLOCK_BYTES: Final = 256 * 1024
_AT_ONCE: Final = 2
"""Most blocks that one worker scores at the same time. A slow client takes no turn while it sends."""
_IN_MEMORY: Final = 256 * 1024


def make_answers(settings: Settings) -> dict[bytes, Table]:
    """Return the function that answers a table, by media type."""
    turns = asyncio.Semaphore(_AT_ONCE)
    longest = settings.max_body_bytes // 32
    csv.field_size_limit(longest)
    tempfile.gettempdir()  # the first call tests folders by writing; do it before a disk is full

    def make_answer(media: bytes, form: type[Form]) -> Table:
        async def answer(
            served: Served, receive: Receive, send: Send, ids: PredictionIds | None, cover: Cover | None
        ) -> int:
            with _disk_full_explained(), tempfile.SpooledTemporaryFile(_IN_MEMORY) as out:
                rows = await _score(form(served, ids, cover), receive, out, longest, turns)
                out.flush()  # before the response starts, because this may fill the disk
                await _send(send, media, served, out)
            return rows

        return answer

    return {CSV: make_answer(CSV, Csv), NDJSON: make_answer(NDJSON, Ndjson)}


@contextlib.contextmanager
def _disk_full_explained() -> Iterator[None]:
    """Convert errors because of a full disk to Problem (507), also those from closing the file."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Problem(507, "The disk is too full for the response", headers={"Connection": "close"}) from None
        raise


async def _score(form: Form, receive: Receive, out: IO[bytes], longest: int, turns: asyncio.Semaphore) -> int:
    """Read and score the whole table, write the predictions to `out`, and return the number of rows."""
    waiting = bytearray()
    async for piece in read_pieces(receive):
        waiting += form.to_utf8(piece)
        if len(waiting) >= _BLOCK_BYTES:
            end = form.find_end(waiting)
            if end:
                async with turns:
                    await _score_block(form, bytes(waiting[:end]), out)
                del waiting[:end]
            elif len(waiting) > longest:
                detail = f"Row {form.rows} has more than {longest:,} bytes"
                raise Problem(413, detail, headers={"Connection": "close"})
    waiting += form.to_utf8(b"", final=True)
    if waiting.strip():
        async with turns:
            await _score_block(form, bytes(waiting), out)
    form.findings.refuse()
    if not form.rows:
        raise Problem(422, "The table has no rows", title="No instances")
    return form.rows


async def _score_block(form: Form, block: bytes, out: IO[bytes]) -> None:
    """Score a block in a thread and count its rows. Raises Problem if there are enough errors."""
    scored = await asyncio.to_thread(form.score, block, out)
    for each in scored:
        form.served.count(each)
    if form.findings.is_enough():
        form.findings.refuse()


async def _send(send: Send, media: bytes, served: Served, out: IO[bytes]) -> None:
    length = out.tell()
    out.seek(0)
    headers = [
        (b"content-type", media),
        (b"content-length", b"%d" % length),
        (b"x-model-version", served.version.encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while length > 0:
        piece = out.read(_BLOCK_BYTES)
        length -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": length > 0})
