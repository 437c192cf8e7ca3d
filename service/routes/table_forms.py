"""Read and write tables as CSV and NDJSON, a block of whole lines at a time."""

import csv
import io
from abc import ABC, abstractmethod
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from itertools import dropwhile
from typing import IO, Any, Final

import msgspec

from service.feedback.prediction_ids import PredictionIds
from service.http.problems import Problem
from service.inputs import explain
from service.inputs.columns import CsvReader
from service.inputs.explain import Findings
from service.inputs.rows import Encoded, Unclear
from service.scoring.serving import Scored, Served, class_name

CSV: Final = b"text/csv"
NDJSON: Final = b"application/x-ndjson"
_ENCODER: Final = msgspec.json.Encoder()


class Form(ABC):
    """A form of tables: how to cut, read and write it."""

    def __init__(self, served: Served, ids: PredictionIds | None) -> None:
        self.served = served
        self.ids = ids
        self.findings = Findings()
        self.rows = 0

    def score(self, block: bytes, out: IO[bytes]) -> Scored | None:
        """Score a block of whole rows and write the answer; None if there is nothing to write."""
        encoded = self.read(block) if block.strip() else None  # read one by one, empty lines would take a second a MB
        if encoded is None or not len(encoded.numbers):
            return None
        if self.findings.count:  # the table is refused; what is left of it is read for more errors
            scored = None
        else:
            scored = self.served.score(encoded, self.rows)
            self.write(scored, out)
        self.rows += len(encoded.numbers)
        return scored

    def closely(self, instances: Iterable[Any]) -> list[Any] | None:
        """Find out what is wrong with instances, or return them as rows if nothing is."""
        before = self.findings.count
        checked = explain.check_all(self.served.contract, instances, self.findings, self.rows)
        if self.findings.count > before:
            self.rows += len(checked)
            return None
        return self.served.reader.rows(checked)

    def end(self, content: bytearray) -> int:
        """Give where the last whole line of `content` ends, 0 if none does."""
        return content.rfind(b"\n") + 1

    @abstractmethod
    def read(self, block: bytes) -> Encoded | None:
        """Encode a block; note what is wrong with it."""

    @abstractmethod
    def write(self, scored: Scored, out: IO[bytes]) -> None:
        """Write a line for each row."""


class Csv(Form):
    """Text below a line of names, separated by commas (RFC 4180)."""

    _reader: CsvReader | None = None

    def end(self, content: bytearray) -> int:
        """Look for an end of line outside quotation marks."""
        end = super().end(content)
        inside = content.count(b'"', 0, end) % 2
        while end and inside:
            before = content.rfind(b"\n", 0, content.rfind(b'"', 0, end)) + 1
            inside ^= content.count(b'"', before, end) % 2
            end = before
        return end

    def read(self, block: bytes) -> Encoded | None:
        """Encode a block; note what is wrong with it."""
        rows = self._rows(block)
        if self._reader is None:
            rows = list(dropwhile(lambda row: not row, rows))
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
            checked = self.closely(self._reader.instances(rows))
            encoded = None if checked is None else self.served.reader.encode_checked(checked)
        if encoded is not None and encoded.outside and self.served.layout.strict:
            instances = list(self._reader.instances(rows))
            value = lambda row, feature: instances[row][feature.name]  # noqa: E731  # as short as a function would be long
            self.served.find_outside(encoded, value, self.findings, self.rows)
        return encoded

    def _rows(self, block: bytes) -> list[list[str]]:
        try:
            text = block.decode("utf-8" if self._reader else "utf-8-sig")
        except UnicodeDecodeError as error:
            near = self._near(block.count(b"\n", 0, error.start))
            raise Problem(400, f"The table is not UTF-8, {near}; save it anew as UTF-8", title="Not UTF-8") from None
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            return list(lines)
        except csv.Error as error:
            raise Problem(
                400, f"The table is not CSV, {self._near(lines.line_num - 1)}: {error}", title="Not CSV"
            ) from None

    def _near(self, lines: int) -> str:
        """Name a row by the lines of its block that are before it."""
        return f"near row {max(0, self.rows + lines - (self._reader is None))}"

    def _same_width(self, rows: list[list[str]]) -> list[list[str]]:
        """Leave out empty lines, refuse rows with too few or too many cells."""
        kept = [row for row in rows if row]
        for number, row in enumerate(kept, self.rows):
            if len(row) != self._width:
                detail = f"Row {number} has {len(row)} cells, the line of names has {self._width}"
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

    def read(self, block: bytes) -> Encoded | None:
        """Encode a block; note what is wrong with it."""
        reader = self.served.reader
        rows: list[Any] | None
        if not self.rows:
            block = block.removeprefix(BOM_UTF8)
        try:
            rows = reader.decode_lines(block)
            encoded: Encoded | None = reader.encode(rows, block, quotes=0) if rows else None
        except Unclear:
            rows = self.closely(self._lines(block))
            encoded = None if rows is None else reader.encode_checked(rows)
        if encoded is not None and encoded.outside and self.served.layout.strict:
            found = rows or []
            value = lambda row, feature: getattr(found[row], reader.attribute(feature))  # noqa: E731  # as above
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
        """Write a line for each row."""
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
