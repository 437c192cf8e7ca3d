"""POST /predict with a table: CSV or NDJSON of any length in, the same form out; `arrow_tables` has the others.

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
import importlib
import io
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import IO, Any, Final

import msgspec

from service.feedback.prediction_ids import PredictionIds
from service.http.exchange import SECURITY_HEADERS, Receive, Send, read_pieces
from service.http.problems import SHOWN_ERRORS, Problem
from service.inputs import explain
from service.inputs.columns import CsvReader
from service.inputs.explain import Findings
from service.inputs.rows import Encoded, Unclear
from service.inputs.table_kinds import COLUMNAR, CSV, NDJSON, is_columnar_taken
from service.routes.predict import Table
from service.scoring.serving import Scored, Served, class_name
from service.settings import Settings

_BLOCK_BYTES: Final = 256 * 1024
_AT_ONCE: Final = 2
"""Tables in work at the same time in one worker; more wait unread."""
_IN_MEMORY: Final = 1024 * 1024
_ENCODER: Final = msgspec.json.Encoder()


def kinds(settings: Settings) -> dict[bytes, Table]:
    """Give what answers each media type."""
    turns = asyncio.Semaphore(_AT_ONCE)
    longest = settings.max_body_bytes // 32

    async def score_lines(
        media: bytes, served: Served, ids: PredictionIds | None, receive: Receive, out: IO[bytes]
    ) -> int:
        return await _score((_Csv if media == CSV else _Ndjson)(served, ids), receive, out, longest)

    async def score_columns(
        media: bytes, served: Served, ids: PredictionIds | None, receive: Receive, out: IO[bytes]
    ) -> int:
        # 50 MB, which only those pay who send such tables; Arrow's own allocator would take 30 MB more.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
        arrow = await asyncio.to_thread(importlib.import_module, "service.routes.arrow_tables")
        rows: int = await arrow.score(media, served, ids, receive, out, settings.max_body_bytes)
        return rows

    def answering(media: bytes) -> Table:
        score = score_columns if media in COLUMNAR else score_lines

        async def answer(
            served: Served, receive: Receive, send: Send, request_id: bytes, ids: PredictionIds | None
        ) -> int:
            async with turns:
                with _room(), tempfile.SpooledTemporaryFile(_IN_MEMORY) as out:
                    rows = await score(media, served, ids, receive, out)
                    out.flush()  # before the answer has begun: the disk may be full by its last bytes
                    await _send(send, media, served, request_id, out)
            return rows

        return answer

    return {media: answering(media) for media in (CSV, NDJSON, *(COLUMNAR if is_columnar_taken() else ()))}


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """Tell of a full disk, also where closing a file meets it once more."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Problem(507, "No room is left for the answer", headers={"Connection": "close"}) from None
        raise


class Form(ABC):
    """A form of tables: how to cut, read and write it."""

    media: bytes

    def __init__(self, served: Served, ids: PredictionIds | None) -> None:
        self.served = served
        self.ids = ids
        self.findings = Findings()
        self.rows = 0

    def score(self, block: Any, out: IO[bytes]) -> Scored | None:
        """Score a block of whole rows and write the answer; None if there is nothing to write."""
        encoded = self.read(block)
        if encoded is None or not len(encoded.numbers):
            return None
        if self.findings.count:  # the table is refused; what is left of it is read for more errors
            scored = None
        else:
            scored = self.served.score(encoded)
            self.write(scored, out)
        self.rows += len(encoded.numbers)
        return scored

    def closely(self, instances: list[Any]) -> Encoded | None:
        """Find out what is wrong with rows, or encode them if nothing is."""
        before = self.findings.count
        for number, instance in enumerate(instances, self.rows):
            explain.check(self.served.contract, number, instance, self.findings)
        if self.findings.count > before:
            self.rows += len(instances)
            return None
        return self.served.reader.encode_checked(self.served.reader.rows(instances))

    def end(self, content: bytearray) -> int:
        """Give where the last whole line of `content` ends, 0 if none does."""
        return content.rfind(b"\n") + 1

    @abstractmethod
    def read(self, block: Any) -> Encoded | None:
        """Encode a block; note what is wrong with it."""

    @abstractmethod
    def write(self, scored: Scored, out: IO[bytes]) -> None:
        """Write a line for each row."""


class _Csv(Form):
    media = CSV
    _reader: CsvReader | None = None

    def end(self, content: bytearray) -> int:
        """Look for an end of line outside quotation marks."""
        end = super().end(content)
        inside = content.count(b'"', 0, end) % 2
        while end and inside:
            before = content.rfind(b"\n", 0, end - 1) + 1
            inside ^= content.count(b'"', before, end) % 2
            end = before
        return end

    def read(self, block: bytes) -> Encoded | None:
        rows = self._rows(block)
        if self._reader is None:
            if not rows:
                return None
            self._width = len(rows[0])
            self._reader = CsvReader(self.served.contract, self.served.layout, rows[0])
            rows = rows[1:]
        if {*map(len, rows)} - {self._width}:
            rows = self._same_width(rows)
        try:
            encoded: Encoded | None = (
                self._reader.encode(rows, plain=b"_" not in block and block.isascii()) if rows else None
            )
        except Unclear:
            encoded = self.closely(self._reader.instances(rows))
        if encoded is not None and encoded.outside and self.served.layout.strict:
            instances = self._reader.instances(rows)
            value = lambda row, feature: instances[row][feature.name]  # noqa: E731  # as short as a function would be long
            self.served.find_outside(encoded, value, self.findings, self.rows)
        return encoded

    def _rows(self, block: bytes) -> list[list[str]]:
        try:
            text = block.decode("utf-8" if self._reader else "utf-8-sig")
            return list(csv.reader(io.StringIO(text, newline=""), strict=True))
        except UnicodeDecodeError:
            raise Problem(
                400, f"The table is not UTF-8, near row {self.rows}; save it anew as UTF-8", title="Not UTF-8"
            ) from None
        except csv.Error as error:
            raise Problem(400, f"The table is not CSV, near row {self.rows}: {error}", title="Not CSV") from None

    def _same_width(self, rows: list[list[str]]) -> list[list[str]]:
        """Leave out empty lines, refuse rows with too few or too many cells."""
        kept = [row for row in rows if row]
        for number, row in enumerate(kept, self.rows):
            if len(row) != self._width:
                detail = f"Row {number} has {len(row)} cells, the line of names has {self._width}"
                raise Problem(422, detail, title="Cells do not match")
        return kept

    def write(self, scored: Scored, out: IO[bytes]) -> None:
        text = io.StringIO(newline="")
        lines = csv.writer(text, lineterminator="\n")
        names = self.served.class_names
        if not self.rows:
            more = ["prediction_id"] if self.ids else []
            lines.writerow(["prediction", *(f"probability_{name}" for name in names), "warnings", *more])
        warnings = [""] * len(scored.numbers)
        for each in scored.outside:
            before = warnings[each.instance]
            warnings[each.instance] = f"{before}{'; ' if before else ''}{each.feature.name} {each.kind}"
        last = [warnings, self.ids.name(self.served, scored)] if self.ids else [warnings]
        if names:
            labels = map(class_name, scored.labels)  # type: ignore[arg-type]  # classification has labels
            lines.writerows(zip(labels, *zip(*scored.values, strict=True), *last, strict=True))
        else:
            lines.writerows(zip(scored.values, *last, strict=True))
        out.write(text.getvalue().encode())


class _Ndjson(Form):
    media = NDJSON

    def read(self, block: bytes) -> Encoded | None:
        reader = self.served.reader
        try:
            rows = reader.decode_lines(block)
            encoded: Encoded | None = reader.encode(rows, block, quotes=0) if rows else None
        except Unclear:
            rows = []
            instances = list(self._lines(block))
            encoded = self.closely(instances)
            if encoded is not None:
                rows = reader.rows(instances)
        if encoded is not None and encoded.outside and self.served.layout.strict:
            value = lambda row, feature: getattr(rows[row], reader.attribute(feature))  # noqa: E731  # as above
            self.served.find_outside(encoded, value, self.findings, self.rows)
        return encoded

    def _lines(self, block: bytes) -> Iterator[Any]:
        number = self.rows
        for line in block.splitlines():
            if line.strip():
                try:
                    yield explain.read_json(line)
                except Problem as problem:
                    detail = f"Row {number}: {problem.detail}"
                    raise Problem(problem.status, detail, title=problem.title, errors=problem.errors) from None
                number += 1

    def write(self, scored: Scored, out: IO[bytes]) -> None:
        lines: list[dict[str, Any]]
        if self.served.class_names:
            pairs = zip(scored.labels, self.served.probabilities(scored.values), strict=True)
            lines = [{"prediction": label, "probabilities": each} for label, each in pairs]
        else:
            lines = [{"prediction": value} for value in scored.values]
        for each in scored.outside:
            warning = {"field": each.feature.name, "kind": each.kind}
            lines[each.instance].setdefault("warnings", []).append(warning)
        if self.ids:
            for line, prediction_id in zip(lines, self.ids.name(self.served, scored), strict=True):
                line["prediction_id"] = prediction_id
        out.write(_ENCODER.encode_lines(lines))


async def _score(form: Form, receive: Receive, out: IO[bytes], longest: int) -> int:
    """Read, score and write the whole table; gives the number of its rows."""
    waiting = bytearray()
    async for piece in read_pieces(receive):
        waiting += piece
        if len(waiting) >= _BLOCK_BYTES:
            end = form.end(waiting)
            if end:
                await score_block(form, bytes(waiting[:end]), out)
                del waiting[:end]
            elif len(waiting) > longest:
                detail = f"Row {form.rows} has more than {longest:,} bytes"
                raise Problem(413, detail, headers={"Connection": "close"})
    if waiting.strip():
        await score_block(form, bytes(waiting), out)
    if form.findings.count:
        raise form.findings.problem()
    if not form.rows:
        raise Problem(422, "The table has no rows", title="No instances")
    return form.rows


async def score_block(form: Form, block: Any, out: IO[bytes]) -> None:
    """Score a block in a thread and count it; raises Problem once enough errors are known."""
    scored = await asyncio.to_thread(form.score, block, out)
    if scored is not None:
        form.served.count(scored)
    if form.findings.count >= SHOWN_ERRORS:
        raise form.findings.problem()


async def _send(send: Send, media: bytes, served: Served, request_id: bytes, out: IO[bytes]) -> None:
    length = out.tell()
    out.seek(0)
    headers = [
        (b"content-type", media),
        (b"content-length", b"%d" % length),
        (b"x-request-id", request_id),
        (b"x-model-version", served.version.encode()),
        *SECURITY_HEADERS,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while length > 0:
        piece = out.read(_BLOCK_BYTES)
        length -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": length > 0})
