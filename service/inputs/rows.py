"""Rows as JSON callers send them, checked against the contract and encoded for the model.

The quick path sees what nearly all requests are: right. One compiled decoder checks names
and types; one comparison of the whole matrix with its bounds finds whatever else there is
to look at. Only what is found then is looked at closely, and only a wrong request is read
a second time to name its errors (`service.inputs.explain`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from service.contract import CategoryFeature, Contract, DateFeature, Feature
from service.encoding import Matrix
from service.inputs.layout import Layout
from service.inputs.readers import MAX_NUMBER, make_readers

_NUMBER: Final = Annotated[float, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
_TYPES: Final[dict[str, Any]] = {"number": _NUMBER, "boolean": bool, "category": str, "date": str}
_HARD: Final = re.compile(r'["\\\x00-\x1f]')
_TEXT: Final = ("category", "date")
_QUOTE: Final = ord('"')


Values = list[list[Any]]
"""Numbers of rows, None for a missing one; dates' days at the end, as in `Encoded`."""


class Unclear(Exception):  # noqa: N818  # not an error yet
    """The quick path cannot tell what is wrong with these rows; read them closely."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as numbers."""

    numbers: Matrix
    """The model's matrix and, for each date, its days: shape (rows, columns + dates)."""
    outside: bool
    """True if any value is unseen or beyond the training range."""


class RowReader:
    """Reads rows as the contract describes them."""

    def __init__(self, contract: Contract) -> None:
        self.layout = Layout(contract)
        self.readers = make_readers(contract, contract.reading)
        features = contract.features
        fields = [_field(number, feature) for number, feature in enumerate(features)]
        names = {f"f{number}": feature.name for number, feature in enumerate(features)}
        self._attributes = {name: attribute for attribute, name in names.items()}
        # The decoder takes no name with these characters; such contracts go the thorough way always.
        self._quick = not any(_HARD.search(feature.name) for feature in features)
        self._row = msgspec.defstruct(
            "Row", fields, rename=names if self._quick else None, forbid_unknown_fields=True, kw_only=True, gc=False
        )
        rows = list[self._row]  # type: ignore[name-defined]  # built at run time
        request = msgspec.defstruct("Request", [("instances", rows)], forbid_unknown_fields=True, gc=False)
        self._request: msgspec.json.Decoder[Any] = msgspec.json.Decoder(request)
        self._lines = msgspec.json.Decoder(self._row)
        self._categories = [
            (place, reader.numbers)
            for place, (feature, reader) in enumerate(zip(features, self.readers, strict=True))
            if isinstance(feature, CategoryFeature)
        ]
        # From the last to the first, for each takes the place of several.
        self._dates = [
            (place, self.readers[place].numbers)
            for place, feature in reversed(list(enumerate(features)))
            if isinstance(feature, DateFeature)
        ]
        texts = [place for place, feature in enumerate(features) if feature.type in _TEXT]
        self._nullable_texts = [place for place in texts if features[place].nullable]
        self._attributes_of_texts = [f"f{place}" for place in self._nullable_texts]
        self._quotes = 2 * (len(features) + len(texts))

    def decode(self, body: bytes) -> list[Any]:
        """Return a request's rows. Raises Unclear if it is not JSON of the right form."""
        if not self._quick:
            raise Unclear
        try:
            return self._request.decode(body).instances  # type: ignore[no-any-return]  # made at run time
        except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors
            raise Unclear from error

    def decode_lines(self, lines: bytes) -> list[Any]:
        """Return the rows of newline-delimited JSON. Raises Unclear as `decode`."""
        if not self._quick:
            raise Unclear
        try:
            rows = self._lines.decode_lines(lines)
        except (ValueError, RecursionError) as error:
            raise Unclear from error
        if len(rows) != lines.count(b"\n") + (not lines.endswith(b"\n")):  # the decoder takes several in one line
            raise Unclear
        return rows

    def encode(self, rows: list[Any], source: bytes, quotes: int = 2) -> Encoded:
        """Encode decoded rows.

        `source` is the text they came from, of which `quotes` quotation marks belong to no row.
        Raises Unclear for a date that is none or a name that comes twice: then there are more
        quotation marks than names and values need.
        """
        cells = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        columns = [cells[place :: len(self.readers)] for place in range(len(self.readers))]
        numbers = self.layout.empty(len(rows))
        try:
            for reader, places, column in zip(self.readers, self.layout.columns, columns, strict=True):
                numbers[:, places] = np.reshape(reader.encode(column), (len(rows), -1))
        except ValueError as error:
            raise Unclear from error
        outside = self.layout.outside(numbers)
        # A third of the time that bytes.count() takes where every tenth byte is one.
        found = np.count_nonzero(np.frombuffer(source, dtype=np.uint8) == _QUOTE)
        # Of what is left out or null; a name that comes twice could take its place.
        absent = sum(columns[place].count(None) for place in self._nullable_texts)
        if outside:
            numbers, left_out, left_out_texts = self.layout.fill(numbers)
            absent += left_out + left_out_texts
            outside = self.layout.outside(numbers)
        if found != quotes + self._quotes * len(rows) - 2 * absent:
            raise Unclear
        return Encoded(numbers, outside)

    def get(self, row: Any, feature: Feature) -> Any:
        """Return the value that a decoded row has for the feature."""
        return getattr(row, self._attributes[feature.name])

    def encode_values(self, rows: Sequence[Sequence[Any]]) -> Encoded:
        """Encode rows of values, as `Reader.value` and `Reader.cell` give them."""
        numbers = self.layout.empty(len(rows))
        for reader, places, column in zip(self.readers, self.layout.columns, zip(*rows, strict=True), strict=True):
            numbers[:, places] = reader.encode_values(column)
        return Encoded(numbers, self.layout.outside(numbers))

    def values(self, rows: list[Any]) -> Values:
        """Return the numbers of a few decoded rows. Raises Unclear for a date that is none."""
        found = []
        try:
            for row in rows:
                values = list(msgspec.structs.astuple(row))
                for place, code in self._categories:
                    values[place] = code(values[place])
                for place, read in self._dates:
                    *parts, days = read(values[place])
                    values[place : place + 1] = parts
                    values.append(days)
                found.append(values)
        except ValueError as error:
            raise Unclear from error
        return found

    def quick_values(self, body: bytes) -> Values | None:
        """Return the numbers of a request in which nothing is odd at first sight, or None."""
        try:
            rows = self.decode(body)
            missing = self._quotes * len(rows) + 2 - body.count(b'"')
            if missing == 2 * sum(getattr(row, text) is None for row in rows for text in self._attributes_of_texts):
                return self.values(rows) or None
        except Unclear:
            pass
        return None


def _field(number: int, feature: Feature) -> tuple[Any, ...]:
    """Describe a feature to the decoder; one that may be missing may be left out, which is then told from null."""
    left_out = msgspec.UNSET if feature.type in _TEXT else inf
    kind = _TYPES[feature.type]
    return (f"f{number}", kind | None, left_out) if feature.nullable else (f"f{number}", kind)
