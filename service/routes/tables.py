"""POST /predict with a table: CSV or NDJSON of any length in, the same form out.

The table is read in blocks of rows, as fast as they can be scored and no faster. The
answer is kept in a temporary file until the last row was read. So memory is constant, a
caller that only listens once it has sent everything is not locked up, and an answer is
whole: every row scored by one version, or a problem that names the rows that are wrong.
Reading ends with the block in which the twentieth error was found.
"""

import asyncio
import contextlib
import csv
import errno
import tempfile
from collections.abc import Iterator
from typing import IO, Final

from starlette.types import Receive, Send

from service.feedback.prediction_ids import PredictionIds
from service.http.exchange import read_pieces
from service.http.problems import Problem
from service.routes.predict import Table
from service.routes.table_forms import CSV, NDJSON, Csv, Form, Ndjson
from service.scoring.serving import Served
from service.settings import Settings

_BLOCK_BYTES: Final = 256 * 1024
_AT_ONCE: Final = 2
"""Blocks in work at the same time in one worker; slow clients hold no turn between theirs."""
_IN_MEMORY: Final = 256 * 1024


def kinds(settings: Settings) -> dict[bytes, Table]:
    """Give what answers each media type."""
    turns = asyncio.Semaphore(_AT_ONCE)
    longest = settings.max_body_bytes // 32
    csv.field_size_limit(longest)
    tempfile.gettempdir()  # looks for a folder once, by writing into it: now, and not when the disk is full

    def answering(media: bytes, form: type[Form]) -> Table:
        async def answer(served: Served, receive: Receive, send: Send, ids: PredictionIds | None) -> int:
            with _room(), tempfile.SpooledTemporaryFile(_IN_MEMORY) as out:
                rows = await _score(form(served, ids), receive, out, longest, turns)
                out.flush()  # before the answer has begun: the disk may be full by its last bytes
                await _send(send, media, served, out)
            return rows

        return answer

    return {CSV: answering(CSV, Csv), NDJSON: answering(NDJSON, Ndjson)}


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """Tell of a full disk, also where closing a file meets it once more."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Problem(507, "No room is left for the answer", headers={"Connection": "close"}) from None
        raise


async def _score(form: Form, receive: Receive, out: IO[bytes], longest: int, turns: asyncio.Semaphore) -> int:
    """Read, score and write the whole table; gives the number of its rows."""
    waiting = bytearray()
    async for piece in read_pieces(receive):
        waiting += form.utf8(piece)
        if len(waiting) >= _BLOCK_BYTES:
            end = form.end(waiting)
            if end:
                async with turns:
                    await _score_block(form, bytes(waiting[:end]), out)
                del waiting[:end]
            elif len(waiting) > longest:
                detail = f"Row {form.rows} has more than {longest:,} bytes"
                raise Problem(413, detail, headers={"Connection": "close"})
    waiting += form.utf8(b"", final=True)
    if waiting.strip():
        async with turns:
            await _score_block(form, bytes(waiting), out)
    form.findings.refuse()
    if not form.rows:
        raise Problem(422, "The table has no rows", title="No instances")
    return form.rows


async def _score_block(form: Form, block: bytes, out: IO[bytes]) -> None:
    """Score a block in a thread and count it; raises Problem once enough errors are known."""
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
