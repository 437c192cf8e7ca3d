"""Parse what callers send for a feature, and encode it for the model.

`service.cells` parses text by the rules of the training table, and `service.encoding` encodes
values. This module caches their results, so the same text is parsed once.
"""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from math import nan
from typing import Any, Final

from service import cells
from service.cells import Reading, Value
from service.contract import DateFeature, Feature
from service.encoding import UNSEEN, Matrix, date_numbers, encode_dates

MAX_NUMBER: Final = cells.LARGEST
"""Largest number that a feature can have, that of float32."""
_CACHE_SIZE: Final = 16_384
"""Most different texts of a date in the cache."""
_LONGEST_DATE: Final = 80
"""Longest text of a date, in characters."""


class InvalidValueError(ValueError):
    """A feature doesn't accept the value."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind
        """missing, wrong_type or wrong_value."""


class Reader:
    """Reads the values of one feature."""

    encode_text: Callable[[Any], Any]
    """Encode the text or null of JSON: a category's code, or a date's parts and then its days.

    Only categories and dates have this function. Raises InvalidValueError.
    """

    def __init__(self, feature: Feature, reading: Reading) -> None:
        self.feature = feature
        self._missing = reading.missing_texts(feature.name)
        self._parse = cells.parser(feature.type, feature.name, reading)
        self._decimal = reading.decimal
        self._date_form = reading.dates.get(feature.name) if feature.type == "date" else None
        if feature.type == "category":
            self.encode_text = _Codes(feature.codes, self.value).__getitem__
        elif feature.type == "date":
            self._parts = (*feature.parts, "days")
            self.encode_text = lru_cache(_CACHE_SIZE)(self._date_numbers)

    @property
    def cell_form(self) -> str:
        """What messages add about cells of CSV; empty if they are written as in JSON."""
        if self._date_form:
            return f" or in the form {self._date_form}"
        return " with a decimal comma" if self.feature.type == "number" and self._decimal == "," else ""

    def cell(self, text: str) -> Value:
        """Parse a cell of CSV; a date has the training table's form or ISO 8601. Raises InvalidValueError."""
        if self.feature.type == "date" and len(text) > _LONGEST_DATE:
            raise InvalidValueError("wrong_value")
        try:
            value = self._parse(text)
        except ValueError:
            raise InvalidValueError("wrong_value") from None
        return self._check_missing(value)

    def value(self, raw: Any) -> Value:
        """Parse a value from a JSON object or tensor. Raises InvalidValueError."""
        if raw is None or (isinstance(raw, str) and raw.strip() in self._missing):
            return self._check_missing(None)
        match self.feature.type:
            case "number":
                return _number(raw)
            case "boolean" if isinstance(raw, bool):
                return raw
            case "category" | "date" if isinstance(raw, str):
                return self._parse_text(raw)
        raise InvalidValueError("wrong_type")

    def encode(self, values: Sequence[Value]) -> Matrix:
        """Return the encoded values: the feature's columns, and for a date its days as the last one."""
        if isinstance(self.feature, DateFeature):
            return encode_dates(values, self._parts)
        return self.feature.encode(values)

    def encode_cells(self, texts: Sequence[str]) -> Matrix:
        """Return encoded cells of CSV; the same text is parsed once. Raises InvalidValueError."""
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        numbers = self.encode(self._parse_cells(list(places)))
        return numbers if len(places) == len(texts) else numbers[[places[text] for text in texts]]

    def _parse_cells(self, texts: list[str]) -> Sequence[Value]:
        if self.feature.type == "number" and (self.feature.nullable or self._missing.isdisjoint(texts)):
            plain = cells.parse_numbers(texts, self._missing, self._decimal)
            if plain is not None:
                return plain
        return [self.cell(text) for text in texts]

    def _parse_text(self, raw: str) -> Value:
        """Parse text in JSON; a date in ISO 8601, or else in the training table's form."""
        if self._date_form and len(raw) <= _LONGEST_DATE:
            with contextlib.suppress(ValueError):
                return cells.parse_date(raw)
        return self.cell(raw)

    def _check_missing(self, value: Value) -> Value:
        if value is None and not self.feature.nullable:
            raise InvalidValueError("missing")
        return value

    def _date_numbers(self, raw: Any) -> tuple[float, ...]:
        value = self.value(raw)
        return date_numbers(value, self._parts) if isinstance(value, datetime) else (nan,) * len(self._parts)


class _Codes(dict[Any, float]):
    """The code of each known text of a category; for another text, parse it and look up the result."""

    def __init__(self, known: dict[Any, float], read: Callable[[Any], Value]) -> None:
        super().__init__(known)
        self._read = read

    def __missing__(self, text: str) -> float:
        return self.get(self._read(text), UNSEEN)


def _number(raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise InvalidValueError("wrong_type")
    if not -MAX_NUMBER <= raw <= MAX_NUMBER:
        raise InvalidValueError("wrong_value")
    return float(raw)
