"""Rows as JSON callers send them, checked against the contract and encoded for the model.

The quick path sees what nearly all requests are: right. One compiled decoder checks names
and types; one comparison of the whole matrix with its bounds finds whatever else there is
to look at. Only what is found then is looked at closely, and only a wrong request is read
a second time to name all its errors (`service.inputs.explain`).
"""

import re
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from service.contract import MISSING, UNSEEN, CategoryFeature, Contract, DateFeature, Feature, Matrix
from service.inputs import moments
from service.inputs.layout import MAX_NUMBER, Layout

_NUMBER: Final = Annotated[float, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
_TYPES: Final[dict[str, Any]] = {"number": _NUMBER, "boolean": bool, "category": str, "date": str}
_HARD: Final = re.compile(r'["\\\x00-\x1f]')
_TEXT: Final = ("category", "date")
_QUOTE: Final = ord('"')


Values = list[list[Any]]
"""Numbers of rows, None for a missing one; dates' days at the end, as in `Encoded`."""


class Unclear(Exception):  # noqa: N818  # not an error yet
    """The quick path cannot tell what is wrong with these rows; read them closely."""


class _Codes(dict[Any, float]):
    """Codes of a category's names; a name that is not there is unseen."""

    def __missing__(self, name: Any) -> float:
        return UNSEEN


def codes(feature: CategoryFeature) -> dict[Any, float]:
    """Give the code of each name, None being missing, one left out infinite, others unseen."""
    known: dict[Any, float] = {name: float(code) for code, name in enumerate(feature.categories)}
    return _Codes({**known, None: MISSING, msgspec.UNSET: inf})


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
        fields = [_field(number, feature) for number, feature in enumerate(contract.features)]
        names = {f"f{number}": feature.name for number, feature in enumerate(contract.features)}
        self._attributes = {name: attribute for attribute, name in names.items()}
        # The decoder takes no name with these characters; such contracts go the thorough way always.
        self._quick = not any(_HARD.search(feature.name) for feature in contract.features)
        self._row = msgspec.defstruct(
            "Row", fields, rename=names if self._quick else None, forbid_unknown_fields=True, kw_only=True, gc=False
        )
        rows = list[self._row]  # type: ignore[name-defined]  # built at run time
        request = msgspec.defstruct("Request", [("instances", rows)], forbid_unknown_fields=True, gc=False)
        self._request: msgspec.json.Decoder[Any] = msgspec.json.Decoder(request)
        self._lines = msgspec.json.Decoder(self._row)
        self._categories = [
            (place, codes(feature))
            for place, feature in enumerate(contract.features)
            if isinstance(feature, CategoryFeature)
        ]
        # From the last to the first, for each takes the place of several.
        self._dates = [
            (place, moments.reader(feature))
            for place, feature in reversed(list(enumerate(contract.features)))
            if isinstance(feature, DateFeature)
        ]
        texts = [feature for feature in contract.features if feature.type in _TEXT]
        self._nullable_texts = [self._attributes[feature.name] for feature in texts if feature.nullable]
        self._quotes = 2 * (len(contract.features) + len(texts))
        dates = {place for place, _ in self._dates}
        self._plain = [place for place in range(len(contract.features)) if place not in dates]
        self._plain_columns = [self.layout.columns[place][0] for place in self._plain]

    def decode(self, body: bytes) -> list[Any]:
        """Give a request's rows. Raises Unclear if it is not JSON of the right form."""
        if not self._quick:
            raise Unclear
        try:
            return self._request.decode(body).instances  # type: ignore[no-any-return]  # made at run time
        except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors
            raise Unclear from error

    def decode_lines(self, lines: bytes) -> list[Any]:
        """Give the rows of newline-delimited JSON. Raises Unclear as `decode`."""
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
        numbers = self._numbers(rows)
        outside = self.layout.outside(numbers)
        # A third of the time that bytes.count() takes where every tenth byte is one.
        found = np.count_nonzero(np.frombuffer(source, dtype=np.uint8) == _QUOTE)
        unaccounted = found - quotes - self._quotes * len(rows)
        # A text that is null has no quotation marks; those of a name that comes twice could take their place.
        if outside or unaccounted or (self._nullable_texts and self.layout.missing_texts(numbers)):
            numbers, left_out = self.layout.fill(numbers)
            if unaccounted + left_out + 2 * self.layout.missing_texts(numbers):
                raise Unclear
            outside = self.layout.outside(numbers)
        return Encoded(numbers, outside)

    def attribute(self, feature: Feature) -> str:
        """Name the attribute of a row that holds the feature's value."""
        return self._attributes[feature.name]

    def rows(self, instances: list[dict[str, Any]]) -> list[Any]:
        """Give rows that were found right by other means as `decode` does."""
        names = self._attributes
        return [self._row(**{names[name]: value for name, value in instance.items()}) for instance in instances]

    def encode_checked(self, rows: list[Any]) -> Encoded:
        """Encode rows that are known to be right."""
        numbers, _ = self.layout.fill(self._numbers(rows))
        return Encoded(numbers, self.layout.outside(numbers))

    def _numbers(self, rows: list[Any]) -> Matrix:
        """Give the numbers of many decoded rows, column by column. Raises Unclear for a date that is none."""
        cells = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        width = len(self.layout.columns)
        for place, known in self._categories:
            cells[place::width] = map(known.__getitem__, cells[place::width])
        numbers = self.layout.empty(len(rows))
        for place, read in self._dates:
            columns = self.layout.columns[place]
            try:
                parts = np.fromiter(chain.from_iterable(map(read, cells[place::width])), np.float32)
            except ValueError as error:
                raise Unclear from error
            numbers[:, columns] = parts.reshape(-1, len(columns))
            cells[place::width] = [inf] * len(rows)
        numbers[:, self._plain_columns] = np.fromiter(cells, np.float32, len(cells)).reshape(-1, width)[:, self._plain]
        return numbers

    def values(self, rows: list[Any]) -> Values:
        """Give the numbers of a few decoded rows. Raises Unclear for a date that is none."""
        found = []
        try:
            for row in rows:
                values = list(msgspec.structs.astuple(row))
                for place, known in self._categories:
                    values[place] = known[values[place]]
                for place, read in self._dates:
                    *parts, days = read(values[place])
                    values[place : place + 1] = parts
                    values.append(days)
                found.append(values)
        except ValueError as error:
            raise Unclear from error
        return found

    def quick_values(self, body: bytes) -> Values | None:
        """Give the numbers of a request in which nothing is odd at first sight, or None."""
        try:
            rows = self.decode(body)
            missing = self._quotes * len(rows) + 2 - body.count(b'"')
            if missing == 2 * sum(getattr(row, text) is None for row in rows for text in self._nullable_texts):
                return self.values(rows) or None
        except Unclear:
            pass
        return None


def _field(number: int, feature: Feature) -> tuple[Any, ...]:
    """Describe a feature to the decoder; one that may be missing may be left out, which is then told from null."""
    left_out = msgspec.UNSET if feature.type in _TEXT else inf
    kind = _TYPES[feature.type]
    return (f"f{number}", kind | None, left_out) if feature.nullable else (f"f{number}", kind)
