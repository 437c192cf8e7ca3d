"""Turn what callers send for a feature into its value, and into the model's numbers.

What a text means is decided by `service.cells`, by the rules that the training table was read
by; what number a value becomes, by `service.encoding`. Here the results are remembered, so
that the same text is read once.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from math import nan
from typing import Any, Final

from service import cells
from service.cells import Reading, Value
from service.contract import DateFeature, Feature
from service.encoding import UNSEEN, Matrix, date_numbers, encode_dates

MAX_NUMBER: Final = cells.LARGEST
"""Largest number that a feature may have: the model takes float32."""
_REMEMBERED: Final = 16_384
_LONGEST_DATE: Final = 80


class Wrong(ValueError):  # noqa: N818  # said about a value, by its kind
    """A value that a feature does not take."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind
        """missing, wrong_type or wrong_value."""


class NotANumber:
    """NaN or an infinity, which JSON does not know."""

    def __init__(self, text: str) -> None:
        self.text = text


class Reader:
    """Reads the values of one feature."""

    number: Callable[[Any], Any]
    """Of a category or date: return the code of JSON's text or null, or a date's numbers and its days. Raises Wrong."""

    def __init__(self, feature: Feature, reading: Reading) -> None:
        self.feature = feature
        self._missing = reading.missing_texts(feature.name)
        self._parse = cells.parser(feature.type, feature.name, reading)
        self._decimal = reading.decimal
        self._date_form = reading.dates.get(feature.name) if feature.type == "date" else None
        if feature.type == "category":
            self.number = _Codes(feature.codes, self.value).__getitem__
        elif feature.type == "date":
            self._parts = (*feature.parts, "days")
            self.number = lru_cache(_REMEMBERED)(self._date_numbers)

    @property
    def cell_form(self) -> str:
        """How a CSV's cell is written, for messages: empty where it is as in JSON."""
        if self._date_form:
            return f" or in the form {self._date_form}"
        return " with a decimal comma" if self.feature.type == "number" and self._decimal == "," else ""

    def cell(self, text: str) -> Value:
        """Return the value of a CSV's cell; a date is in the training table's form, else in ISO 8601. Raises Wrong."""
        if self.feature.type == "date" and len(text) > _LONGEST_DATE:
            raise Wrong("wrong_value")
        try:
            return self._checked(self._parse(text))
        except Wrong:
            raise
        except ValueError:
            raise Wrong("wrong_value") from None

    def value(self, raw: Any) -> Value:
        """Return the value of a member of a JSON object, or of a tensor. Raises Wrong."""
        if raw is None or (isinstance(raw, str) and raw.strip() in self._missing):
            return self._checked(None)
        if isinstance(raw, NotANumber):
            raise Wrong("wrong_value")
        match self.feature.type:
            case "number":
                return _number(raw)
            case "boolean" if isinstance(raw, bool):
                return raw
            case "category" | "date" if isinstance(raw, str):
                return self._text(raw)
        raise Wrong("wrong_type")

    def encode(self, values: Sequence[Value]) -> Matrix:
        """Return the numbers of values: the feature's columns, for a date its days as well."""
        if isinstance(self.feature, DateFeature):
            return encode_dates(values, self._parts)
        return self.feature.encode(values)

    def encode_cells(self, texts: Sequence[str]) -> Matrix:
        """Return the numbers of a CSV's cells; the same text is read once. Raises Wrong."""
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        numbers = self.encode(self._read(list(places)))
        return numbers if len(places) == len(texts) else numbers[[places[text] for text in texts]]

    def find_wrong(self, texts: Sequence[str]) -> Iterator[tuple[int, str, str]]:
        """Yield place, text and kind of error of each wrong cell."""
        for place, text in enumerate(texts):
            try:
                self.cell(text)
            except Wrong as wrong:
                yield place, text, wrong.kind

    def _read(self, texts: list[str]) -> Sequence[Value]:
        if self.feature.type == "number" and (self.feature.nullable or self._missing.isdisjoint(texts)):
            plain = cells.parse_numbers(texts, self._missing, self._decimal)
            if plain is not None:
                return plain
        return [self.cell(text) for text in texts]

    def _text(self, raw: str) -> Value:
        """Return the value of a text in JSON, where ISO 8601 comes first."""
        if self._date_form:
            try:
                return _parse_iso(raw)
            except Wrong:
                pass
        return self.cell(raw)

    def _checked(self, value: Value) -> Value:
        if value is None and not self.feature.nullable:
            raise Wrong("missing")
        return value

    def _date_numbers(self, raw: Any) -> tuple[float, ...]:
        value = self.value(raw)
        return date_numbers(value, self._parts) if isinstance(value, datetime) else (nan,) * len(self._parts)


class _Codes(dict[Any, float]):
    """Codes of a category's texts; one that is not there is read, then looked up again."""

    def __init__(self, known: dict[Any, float], read: Callable[[Any], Value]) -> None:
        super().__init__(known)
        self._read = read

    def __missing__(self, text: str) -> float:
        return self.get(self._read(text), UNSEEN)


def _number(raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise Wrong("wrong_type")
    if not -MAX_NUMBER <= raw <= MAX_NUMBER:
        raise Wrong("wrong_value")
    return float(raw)


def _parse_iso(text: str) -> datetime:
    try:
        return cells.parse_date(text[:_LONGEST_DATE])
    except ValueError:
        raise Wrong("wrong_value") from None
