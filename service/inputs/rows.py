"""Check rows of JSON against the contract, and encode them for the model.

Nearly all requests are valid, so a compiled decoder checks names and types quickly. If it refuses
a request, `service.inputs.explain` reads it again slowly, to describe the errors.
"""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import UNSET

from service.contract import CategoryFeature, Contract, DateFeature, Feature
from service.encoding import Matrix
from service.inputs import explain
from service.inputs.explain import Checker, Findings
from service.inputs.layout import Layout
from service.inputs.readers import MAX_NUMBER, Reader

_NUMBER: Final = Annotated[float, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
_TYPES: Final[dict[str, Any]] = {"number": _NUMBER, "boolean": bool, "category": str, "date": str}
_HARD: Final = re.compile(r'["\\\x00-\x1f]')
_TEXTS: Final = ("category", "date")
_MANY_ROWS: Final = 8
"""From this many rows on, encode column by column: 45 instead of 85 µs for 100 rows, but 4 µs more for one."""
_LONG_BODY: Final = 4_096
"""From this many bytes on, NumPy counts the quotation marks: 3 instead of 16 µs in 43 kB, but 1 µs more for one row."""


class NeedsSlowPathError(Exception):
    """The quick decoder can't read these rows; `read_instances` can, or describes what is wrong."""


class RowReader:
    """Reads rows into all columns of `Layout`: the model's matrix and the days of dates."""

    def __init__(self, contract: Contract, layout: Layout) -> None:
        features = contract.features
        self._layout = layout
        self._readers = [Reader(feature, contract.reading) for feature in features]
        known = {*(feature.name for feature in features), *contract.ignored}
        self.checker = Checker(self._readers, known, contract.derived)
        self._most_values = len(known) + 1
        # The decoder doesn't support names with these characters, so such contracts always use the slow path.
        self._is_quick = not any(_HARD.search(feature.name) for feature in features)
        names = {f"f{number}": feature.name for number, feature in enumerate(features)} if self._is_quick else None
        fields = [_field(number, feature) for number, feature in enumerate(features)]
        row = msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False)
        request = [("instances", list[row])]  # type: ignore[valid-type]  # built at run time
        self._request: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            msgspec.defstruct("Request", request, forbid_unknown_fields=True, gc=False)
        )
        self._line = msgspec.json.Decoder(row)
        self._categories = [(place, self._readers[place].encode_text) for place in _places(features, CategoryFeature)]
        # From the last to the first, because each date becomes several columns.
        self._dates = [(place, self._readers[place].encode_text) for place in reversed(_places(features, DateFeature))]
        texts = [place for place, feature in enumerate(features) if feature.type in _TEXTS]
        self._nullable_texts = [f"f{place}" for place in texts if features[place].nullable]
        self._quotes = 2 * (len(features) + len(texts))

    def read_request(self, body: bytes, limit: int) -> Matrix:
        """Encode the instances in a body, 1 to `limit`.

        Raises Problem: 400 if it isn't JSON, 413 for more instances, 422 if they break the contract.
        """
        explain.check_extent(body, limit, limit * self._most_values)
        if self._is_quick:
            try:
                decoded = self._request.decode(body).instances
                explain.check_count(len(decoded), limit)
                return self._encode(decoded, _count_quotes(body) - 2)
            except (NeedsSlowPathError, ValueError, RecursionError):  # msgspec's own errors are ValueErrors
                pass
        return self.read_instances(explain.read_request(body, limit))

    def read_lines(self, lines: Sequence[bytes]) -> Matrix:
        """Encode lines with one object each. Raises NeedsSlowPathError if the quick decoder can't read them."""
        if not self._is_quick:
            raise NeedsSlowPathError
        try:
            decoded = list(map(self._line.decode, lines))
            return self._encode(decoded, sum(map(_count_quotes, lines)))
        except (ValueError, RecursionError) as error:
            raise NeedsSlowPathError from error

    def read_instances(self, instances: Sequence[Any]) -> Matrix:
        """Encode instances by the slow path. Raises Problem (422) with what is wrong."""
        findings = Findings()
        values = self.checker.check(instances, findings)
        findings.refuse()
        return self.encode(values)

    def encode(self, rows: Sequence[Sequence[Any]]) -> Matrix:
        """Encode rows of values, which `Reader.value` or `Reader.cell` returned."""
        columns = zip(*rows, strict=True)
        encoded = [reader.encode(column) for reader, column in zip(self._readers, columns, strict=True)]
        return self._layout.join(encoded)

    def _encode(self, decoded: list[Any], quotes: int) -> Matrix:
        """Encode decoded rows; `quotes` is the number of quotation marks in their text.

        The decoder accepts a name that is twice in an object. Then there are more quotation marks than names and
        values need, and this raises NeedsSlowPathError.
        """
        rows = list(map(msgspec.structs.astuple, decoded))
        needed = self._quotes * len(rows)
        for name in self._nullable_texts:
            needed -= 2 * sum(not isinstance(getattr(row, name), str) for row in decoded)
        try:
            numbers = self._numbers(rows)
        except (TypeError, ValueError):  # null for a value that is left out
            needed -= 2 * sum(row.count(UNSET) for row in rows)
            numbers = self._numbers([tuple(None if value is UNSET else value for value in row) for row in rows])
        if quotes != needed:
            raise NeedsSlowPathError
        return numbers

    def _numbers(self, rows: list[tuple[Any, ...]]) -> Matrix:
        """Return all columns, float32. Raises ValueError or TypeError for a value that is left out or wrong."""
        if len(rows) < _MANY_ROWS:
            return np.array(list(map(self._numbers_of_row, rows)), dtype=np.float32)
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for place, code in self._categories:
            columns[place] = list(map(code, columns[place]))
        for place, read in self._dates:
            *columns[place : place + 1], days = zip(*map(read, columns[place]), strict=True)
            columns.append(days)
        numbers = np.fromiter(chain.from_iterable(columns), np.float32, len(columns) * len(rows))
        return np.ascontiguousarray(numbers.reshape(len(columns), len(rows)).T)

    def _numbers_of_row(self, row: tuple[Any, ...]) -> list[Any]:
        values = list(row)
        for place, code in self._categories:
            values[place] = code(values[place])
        for place, read in self._dates:
            *values[place : place + 1], days = read(values[place])
            values.append(days)
        return values


def _count_quotes(body: bytes) -> int:
    if len(body) < _LONG_BODY:
        return body.count(b'"')
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord('"')))


def _places(features: Sequence[Feature], kind: type) -> list[int]:
    return [place for place, feature in enumerate(features) if isinstance(feature, kind)]


def _field(number: int, feature: Feature) -> tuple[Any, ...]:
    """Return the field of a feature for the decoder; a nullable one may be left out."""
    kind = _TYPES[feature.type]
    return (f"f{number}", kind | None, UNSET) if feature.nullable else (f"f{number}", kind)
