"""Read and write tables as CSV and NDJSON, a block of whole lines at a time."""

import csv
import io
from abc import ABC, abstractmethod
from codecs import BOM_UTF8, IncrementalDecoder, getincrementaldecoder
from functools import partial
from typing import IO, Any, Final

import msgspec

from service.contract import class_name
from service.encoding import Matrix
from service.feedback import PredictionIds
from service.http.problems import Problem
from service.inputs import explain
from service.inputs.columns import CsvReader, Header, find_end, find_header
from service.inputs.explain import Findings
from service.inputs.rows import NeedsSlowPathError
from service.scoring.serving import Cover, Scored, Served, check_finite, find_strict

CSV: Final = b"text/csv"
NDJSON: Final = b"application/x-ndjson"
_CELLS_AT_ONCE: Final = 2_000_000
"""Most cells to encode at the same time, so that a table with many columns doesn't take more memory."""
_WIDE: Final = ("utf-16", "utf-32")
_BYTE_ORDER_MARKS: Final = b"\xff\xfe"
_ENCODER: Final = msgspec.json.Encoder()


class Form(ABC):
    """Reads the blocks of one table in one format, scores them and writes the response."""

    def __init__(self, served: Served, ids: PredictionIds | None, cover: Cover | None) -> None:
        self.served = served
        self.ids = ids
        self.cover = cover
        self.findings = Findings()
        self.rows = 0
        self.rows_at_once = max(256, _CELLS_AT_ONCE // len(served.layout.columns))

    def score(self, block: bytes, out: IO[bytes]) -> list[Scored]:
        """Score a block of whole lines in parts of `rows_at_once` rows; write predictions to `out`."""
        results: list[Scored] = []
        if not block.strip():  # skip a block of empty lines; reading each would take 1 s per MB
            return results
        rows = self.split(block)
        for start in range(0, len(rows), self.rows_at_once):
            part = rows[start : start + self.rows_at_once]
            numbers = self.read(part)
            if numbers is not None:
                scored = self.served.score(numbers)
                if self.served.layout.strict:
                    find_strict(scored, partial(self.instances, part), self.findings, self.rows)
                if not self.findings.count:  # after an error, only look for more errors
                    check_finite(scored, self.rows)
                    self.write(scored, out)
                    results.append(scored)
            self.rows += len(part)
            if self.findings.is_enough():
                break
        return results

    def to_utf8(self, piece: bytes, *, final: bool = False) -> bytes:  # noqa: ARG002  # for Csv
        """Return a piece of the body in an encoding with one byte per ASCII character; `final` is the last call."""
        return piece

    def find_end(self, content: bytearray) -> int:
        """Return the index after the last whole line of `content`, or 0 if there is none."""
        return content.rfind(b"\n") + 1

    @abstractmethod
    def split(self, block: bytes) -> list[Any]:
        """Return the rows of a block."""

    @abstractmethod
    def read(self, part: Any) -> Matrix | None:
        """Encode rows. If one is wrong, add it to `findings` and return None."""

    @abstractmethod
    def instances(self, part: Any) -> list[dict[str, Any]]:
        """Return a part's rows as dictionaries, not encoded."""

    @abstractmethod
    def write(self, scored: Scored, out: IO[bytes]) -> None:
        """Write a line for each row."""


class Csv(Form):
    """CSV with a header, in the dialect of the training table or with commas (RFC 4180)."""

    _header: Header | None = None
    _reader: CsvReader
    _decoder: IncrementalDecoder | None = None
    _is_ascii = True
    """Whether the text was ASCII until now."""
    _lines = 0

    def to_utf8(self, piece: bytes, *, final: bool = False) -> bytes:
        """Convert from UTF-8, or from the training table's encoding if the first text that isn't ASCII isn't UTF-8."""
        own = self.served.contract.reading.encoding
        if self._decoder is None:
            if not piece:
                return b""
            is_wide = own.startswith(_WIDE) and (piece[0] in _BYTE_ORDER_MARKS or 0 in piece[:4])
            self._decoder = getincrementaldecoder(own if is_wide else "utf-8")()
        try:
            text = self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            if self._is_ascii and not own.startswith("utf"):
                self._is_ascii, self._decoder = False, getincrementaldecoder(own)()
                return self.to_utf8(error.object, final=final)
            name = "UTF-8" if error.encoding == "utf-8" else own.upper()
            near = max(0, self._lines + error.object.count(b"\n", 0, error.start) - 1)
            detail = f"The table is not {name}, near row {near}; save it as UTF-8"
            raise Problem(400, detail, title=f"Not {name}") from None
        self._is_ascii = self._is_ascii and text.isascii()
        self._lines += text.count("\n")
        return text.encode()

    find_end = staticmethod(find_end)

    def read(self, part: list[list[str]]) -> Matrix | None:
        """Encode rows; return None if one is wrong."""
        return self._reader.read(part, self.rows, self.findings)

    def instances(self, part: list[list[str]]) -> list[dict[str, Any]]:
        """Return each row as a dictionary from column name to cell."""
        return self._reader.to_instances(part)

    def split(self, block: bytes) -> list[list[str]]:
        """Return the rows of a block. The first block begins with the header. Raises Problem."""
        is_first, lines = self._header is None, None
        text = block.decode().removeprefix("\ufeff" if is_first else "")
        try:
            header = self._header = self._header or find_header(self.served.contract, text)
            if header is None:
                return []
            file = io.StringIO(text[header.skipped if is_first else 0 :], newline="")
            lines = csv.reader(file, delimiter=header.delimiter, strict=True)
            rows = [row for row in lines if row]
        except csv.Error as error:
            near = max(0, self.rows + (lines.line_num - 1 if lines else 0) - (self.rows == 0))
            raise Problem(400, f"The table is not CSV, near row {near}: {error}", title="Not CSV") from None
        if is_first:
            self._reader = CsvReader(self.served.contract, self.served.layout, header)
            del rows[0]
        for number, row in enumerate(rows, self.rows):
            if len(row) != len(header.names):
                detail = f"Row {number} has {len(row)} cells, the header has {len(header.names)}"
                raise Problem(422, detail, title="Cells do not match")
        return rows

    def write(self, scored: Scored, out: IO[bytes]) -> None:
        """Write a line for each row, and before the first one the header."""
        text = io.StringIO(newline="")
        lines = csv.writer(text, lineterminator="\n")
        names = self.served.class_names
        if not self.rows:
            more = ["prediction_id"] if self.ids else []
            more += (["set"] if names else ["low", "high"]) if self.cover else []
            lines.writerow(["prediction", *(f"probability_{name}" for name in names), "warnings", *more])
        warnings = [""] * len(scored.numbers)
        for each in scored.outside:
            before = warnings[each.instance]
            warnings[each.instance] = f"{before}{'; ' if before else ''}{each.feature.name} {each.kind}"
        columns: list[Any] = [scored.values]
        if names:
            labels = map(class_name, scored.labels)  # type: ignore[arg-type]  # classification has labels
            columns = [labels, *zip(*scored.values, strict=True)]
        columns.append(warnings)
        if self.ids:
            columns.append(self.ids.make_all(self.served, scored))
        if self.cover:
            covered = self.cover(scored)
            texts = [_ENCODER.encode(each).decode() for each in covered.get("sets", ())]
            columns += [texts] if names else zip(*covered["intervals"], strict=True)
        lines.writerows(zip(*columns, strict=True))
        out.write(text.getvalue().encode())


class Ndjson(Form):
    """A JSON object in each line."""

    def split(self, block: bytes) -> list[bytes]:
        """Return the lines that aren't empty."""
        return [line for line in block.removeprefix(BOM_UTF8).split(b"\n") if line.strip()]

    def read(self, part: list[bytes]) -> Matrix | None:
        """Encode the objects in these lines; return None if one is wrong."""
        reader, before = self.served.reader, self.findings.count
        try:
            return reader.read_lines(part)
        except NeedsSlowPathError:
            values = reader.checker.check(self.instances(part), self.findings, self.rows)
        return None if self.findings.count > before else reader.encode(values)

    def instances(self, part: list[bytes]) -> list[dict[str, Any]]:
        """Parse the objects in these lines. Raises Problem with the number of the row."""
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
            for line, prediction_id in zip(lines, self.ids.make_all(self.served, scored), strict=True):
                line["prediction_id"] = prediction_id
        if self.cover:
            for name, values in self.cover(scored).items():
                for line, value in zip(lines, values, strict=True):
                    line[name.removesuffix("s")] = value
        out.write(_ENCODER.encode_lines(lines))
