"""Read and write tables as CSV and NDJSON, a block of whole lines at a time."""

import csv
import io
from abc import ABC, abstractmethod
from codecs import BOM_UTF8, IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterator
from functools import partial
from itertools import dropwhile
from typing import IO, Any, Final

import msgspec

from service.encoding import Matrix
from service.feedback.prediction_ids import PredictionIds
from service.http.problems import Problem
from service.inputs import explain
from service.inputs.columns import CsvReader, Head, find_head
from service.inputs.explain import Findings
from service.inputs.rows import Unclear
from service.scoring.serving import Scored, Served, check_finite, class_name, find_strict

CSV: Final = b"text/csv"
NDJSON: Final = b"application/x-ndjson"
_CELLS_AT_ONCE: Final = 2_000_000
"""Of the rows that are encoded at once, so that a wide table of short lines takes no more memory than another."""
_WIDE: Final = ("utf-16", "utf-32")
_BYTE_ORDER_MARKS: Final = b"\xff\xfe"
_ENCODER: Final = msgspec.json.Encoder()


class Form(ABC):
    """A form of tables: how to cut, read and write it."""

    def __init__(self, served: Served, ids: PredictionIds | None) -> None:
        self.served = served
        self.ids = ids
        self.findings = Findings()
        self.rows = 0
        self.rows_at_once = max(256, _CELLS_AT_ONCE // len(served.layout.columns))

    def score(self, block: bytes, out: IO[bytes]) -> list[Scored]:
        """Score a block of whole lines, as many rows at once as memory allows, and write the answer."""
        results: list[Scored] = []
        if not block.strip():  # read one by one, empty lines would take a second a megabyte
            return results
        for part in self.split(block):
            numbers = self.read(part)
            if numbers is None:
                if self.findings.is_enough():
                    break
                continue
            scored = self.served.score(numbers)
            if self.served.layout.strict:
                find_strict(scored, partial(self.instances, part), self.findings, self.rows)
            if not self.findings.count:  # else the table is refused; what is left of it is read for more errors
                check_finite(scored, self.rows)
                self.write(scored, out)
                results.append(scored)
            self.rows += len(scored.numbers)
        return results

    def utf8(self, piece: bytes, *, final: bool = False) -> bytes:  # noqa: ARG002  # for forms that decode
        """Return a piece of the body in UTF-8, or where ASCII is one byte; `final` if none follows."""
        return piece

    def end(self, content: bytearray) -> int:
        """Give where the last whole line of `content` ends, 0 if none does."""
        return content.rfind(b"\n") + 1

    @abstractmethod
    def split(self, block: bytes) -> Iterator[Any]:
        """Yield parts of at most `rows_at_once` rows."""

    @abstractmethod
    def read(self, part: Any) -> Matrix | None:
        """Encode a part. Note what is wrong with it; then count its rows and return None."""

    @abstractmethod
    def instances(self, part: Any) -> list[dict[str, Any]]:
        """Return a part's rows as they came."""

    @abstractmethod
    def write(self, scored: Scored, out: IO[bytes]) -> None:
        """Write a line for each row."""


class Csv(Form):
    """Text below a line of names, in the form of the training table or separated by commas (RFC 4180)."""

    _head: Head | None = None
    _reader: CsvReader
    _encoding: str | None = None
    """Known once a block has more than ASCII."""
    _wide: IncrementalDecoder | None = None
    """For a table in UTF-16 or UTF-32, as the training table was."""
    _begun = False

    def utf8(self, piece: bytes, *, final: bool = False) -> bytes:
        """Decode UTF-16 and UTF-32, in which neither lines nor quotation marks can be found as bytes."""
        own = self.served.contract.reading.encoding
        if piece and not self._begun:
            self._begun = True
            if own.startswith(_WIDE) and (piece[0] in _BYTE_ORDER_MARKS or 0 in piece[:4]):
                self._wide = getincrementaldecoder(own)()
        if self._wide is None:
            return piece
        try:
            return self._wide.decode(piece, final).encode()
        except UnicodeDecodeError:
            detail = f"The table is not {own.upper()}, near row {self.rows}; save it anew as UTF-8"
            raise Problem(400, detail, title=f"Not {own.upper()}") from None

    def end(self, content: bytearray) -> int:
        """Look for an end of line outside quotation marks."""
        end = super().end(content)
        inside = content.count(b'"', 0, end) % 2
        while end and inside:
            before = content.rfind(b"\n", 0, content.rfind(b'"', 0, end)) + 1
            inside ^= content.count(b'"', before, end) % 2
            end = before
        return end

    def split(self, block: bytes) -> Iterator[list[list[str]]]:
        """Yield some rows, each of the width of the line of names."""
        rows = self._rows(block)
        for start in range(0, len(rows), self.rows_at_once):
            yield rows[start : start + self.rows_at_once]

    def read(self, part: list[list[str]]) -> Matrix | None:
        """Encode rows."""
        encoded = self._reader.read(part, self.rows, self.findings)
        if encoded is None:
            self.rows += len(part)
        return encoded

    def instances(self, part: list[list[str]]) -> list[dict[str, Any]]:
        """Return the cells by name."""
        return self._reader.by_name(part)

    def _rows(self, block: bytes) -> list[list[str]]:
        """Return the rows of a block, each of the width of the line of names, which the first block begins with."""
        text = self._decode(block)
        first = self._head is None
        lines = None
        try:
            if self._head is None:
                self._head = find_head(self.served.contract, text)
                if self._head is None:
                    return []
                text = text[self._head.skipped :]
            lines = csv.reader(io.StringIO(text, newline=""), delimiter=self._head.delimiter, strict=True)
            rows = list(lines)
        except csv.Error as error:
            near = self._near(lines.line_num - 1 if lines else 0)
            raise Problem(400, f"The table is not CSV, {near}: {error}", title="Not CSV") from None
        if first:
            self._reader = CsvReader(self.served.contract, self.served.layout, self._head)
            rows = list(dropwhile(lambda row: not row, rows))[1:]
        width = len(self._head.names)
        return self._same_width(rows, width) if {*map(len, rows)} - {width} else rows

    def _decode(self, block: bytes) -> str:
        """Return the text of a block: UTF-8, or what the training table was in if no block is UTF-8 beyond ASCII."""
        own = self.served.contract.reading.encoding
        try:
            text = block.decode(self._encoding or "utf-8")
        except UnicodeDecodeError as error:
            if self._encoding or own.startswith("utf"):
                near = self._near(block.count(b"\n", 0, error.start))
                detail = f"The table is not UTF-8, {near}; save it anew as UTF-8"
                raise Problem(400, detail, title="Not UTF-8") from None
            self._encoding = own
            return self._decode(block)
        if self._encoding is None and not block.isascii():
            self._encoding = "utf-8"
        return text.removeprefix("\ufeff") if self._head is None else text

    def _near(self, lines: int) -> str:
        """Name a row by the lines of its block that are before it."""
        return f"near row {max(0, self.rows + lines - (self.rows == 0))}"

    def _same_width(self, rows: list[list[str]], width: int) -> list[list[str]]:
        """Leave out empty lines, refuse rows with too few or too many cells."""
        kept = [row for row in rows if row]
        for number, row in enumerate(kept, self.rows):
            if len(row) != width:
                detail = f"Row {number} has {len(row)} cells, the line of names has {width}"
                raise Problem(422, detail, title="Cells do not match")
        return kept

    def write(self, scored: Scored, out: IO[bytes]) -> None:
        """Write a line for each row."""
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


class Ndjson(Form):
    """A JSON object in each line."""

    def split(self, block: bytes) -> Iterator[list[bytes]]:
        """Yield some lines, none of them empty."""
        lines = [line for line in block.removeprefix(BOM_UTF8).split(b"\n") if line.strip()]
        for start in range(0, len(lines), self.rows_at_once):
            yield lines[start : start + self.rows_at_once]

    def read(self, part: list[bytes]) -> Matrix | None:
        """Encode the objects of lines."""
        reader, before = self.served.reader, self.findings.count
        try:
            return reader.read_lines(part)
        except Unclear:
            values = explain.check_all(reader.fields, self.instances(part), self.findings, self.rows)
        if self.findings.count > before:
            self.rows += len(values)
            return None
        return reader.encode(values)

    def instances(self, part: list[bytes]) -> list[dict[str, Any]]:
        """Return the objects of lines. Raises Problem with the number of the row."""
        return [self._parse(line, number) for number, line in enumerate(part, self.rows)]

    def _parse(self, line: bytes, number: int) -> Any:
        try:
            return explain.read_json(line)
        except Problem as problem:
            detail = f"Row {number}: {problem.detail}"
            raise Problem(problem.status, detail, title=problem.title, errors=problem.errors) from None

    def write(self, scored: Scored, out: IO[bytes]) -> None:
        """Write a line for each row."""
        lines: list[dict[str, Any]]
        if self.served.class_names:
            pairs = zip(scored.labels, self.served.probabilities(scored), strict=True)
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
