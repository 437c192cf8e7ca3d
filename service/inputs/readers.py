"""Turn what callers send for a feature into its value, and into the model's numbers.

What a text means is decided by `service.cells`, by the rules that the training table was read
by; what number a value becomes, by `service.encoding`. Here the results are remembered, so
that the same text is read once.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from math import inf, nan
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from service import cells
from service.cells import Reading, Value
from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature, NumberFeature
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
    """Reads the values of one feature.

    In numbers, one left out is infinite (UNSET), and so is a missing one where none may be, so
    that both are noticed.
    """

    cell_form = ""
    """How a CSV's cell is written, for messages: where it is not as in JSON."""
    numbers: Callable[[Any], Any]
    """Return the code of a category's text as JSON has it, or the numbers of a date's."""

    def __init__(self, feature: Feature, reading: Reading) -> None:
        self.feature = feature
        self.none = nan if feature.nullable else inf
        self._parse = cells.parser(feature.type, feature.name, reading)
        self._missing = reading.missing_texts(feature.name)

    def cell(self, text: str) -> Value:
        """Return the value of a CSV's cell. Raises Wrong."""
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
        return self._value(raw)

    def encode(self, raws: Sequence[Any]) -> npt.ArrayLike:
        """Return the numbers of values as a JSON decoder gives them, which checked their types."""
        return np.fromiter(raws, np.float32, len(raws))

    def encode_cells(self, texts: Sequence[str]) -> npt.ArrayLike:
        """Return the numbers of a CSV's cells. Raises Wrong."""
        known = {text: self._number(text) for text in set(texts)}
        return [known[text] for text in texts]

    def encode_values(self, values: Sequence[Value]) -> Matrix:
        """Return the numbers of values."""
        return self.feature.encode(values)

    def _value(self, raw: Any) -> Value:
        raise NotImplementedError

    def _number(self, text: str) -> float:
        value = self.cell(text)
        return self.none if value is None else float(value)  # type: ignore[arg-type]  # of a number or a truth value

    def _checked(self, value: Value) -> Value:
        if value is None and not self.feature.nullable:
            raise Wrong("missing")
        return value


class _Numbers(Reader):
    def __init__(self, feature: NumberFeature, reading: Reading) -> None:
        super().__init__(feature, reading)
        self._decimal = reading.decimal
        if reading.decimal == ",":
            self.cell_form = " with a decimal comma"

    def encode_cells(self, texts: Sequence[str]) -> npt.ArrayLike:
        different = set(texts)
        if not self.feature.nullable and not different.isdisjoint(self._missing):
            raise Wrong("missing")
        if 2 * len(different) > len(texts):
            return self._read(texts)
        known = dict(zip(different, self._read(list(different)), strict=True))
        return [known[text] for text in texts]

    def _read(self, texts: Sequence[str]) -> list[float]:
        plain = cells.parse_numbers(texts, self._missing, self._decimal)
        return [self._number(text) for text in texts] if plain is None else plain

    def _value(self, raw: Any) -> Value:
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise Wrong("wrong_type")
        if not -MAX_NUMBER <= raw <= MAX_NUMBER:
            raise Wrong("wrong_value")
        return float(raw)


class _Booleans(Reader):
    def _value(self, raw: Any) -> Value:
        if not isinstance(raw, bool):
            raise Wrong("wrong_type")
        return raw


class _Codes(dict[Any, float]):
    """Codes of a category's texts; one that is not there is read as a cell, then looked up again."""

    def __init__(self, known: dict[Any, float], read: Callable[[str], Value]) -> None:
        super().__init__(known)
        self._read = read

    def __missing__(self, text: str) -> float:
        return self.get(self._read(text), UNSEEN)


class _Categories(Reader):
    feature: CategoryFeature

    def __init__(self, feature: CategoryFeature, reading: Reading) -> None:
        super().__init__(feature, reading)
        unknown = {None: feature.codes[None] if feature.nullable else inf, msgspec.UNSET: inf}
        self._codes = _Codes({**feature.codes, **unknown}, self._parse)
        self.numbers = self._codes.__getitem__

    def encode(self, raws: Sequence[Any]) -> npt.ArrayLike:
        return np.fromiter(map(self.numbers, raws), np.float32, len(raws))

    def encode_cells(self, texts: Sequence[str]) -> npt.ArrayLike:
        return self.encode(texts)

    def _value(self, raw: Any) -> Value:
        if not isinstance(raw, str):
            raise Wrong("wrong_type")
        return self.cell(raw)


class _Dates(Reader):
    feature: DateFeature

    def __init__(self, feature: DateFeature, reading: Reading) -> None:
        super().__init__(feature, reading)
        self._parts = (*feature.parts, "days")
        self._own_form = feature.name in reading.dates
        if self._own_form:
            self.cell_form = f" or in the form {reading.dates[feature.name]}"
        self.numbers = lru_cache(_REMEMBERED)(self._numbers)
        self._of_cell = lru_cache(_REMEMBERED)(self._numbers_of_cell)

    def cell(self, text: str) -> Value:
        """Return the value of a CSV's cell: in the training table's form, else in ISO 8601. Raises Wrong."""
        if len(text) > _LONGEST_DATE:
            raise Wrong("wrong_value")
        try:
            return super().cell(text)
        except Wrong as wrong:
            if not self._own_form or wrong.kind == "missing":
                raise
        return _iso(text)

    def encode(self, raws: Sequence[Any]) -> npt.ArrayLike:
        return _stack(map(self.numbers, raws), len(raws))

    def encode_cells(self, texts: Sequence[str]) -> npt.ArrayLike:
        return _stack(map(self._of_cell, texts), len(texts))

    def encode_values(self, values: Sequence[Value]) -> Matrix:
        return encode_dates(values, self._parts)

    def _value(self, raw: Any) -> Value:
        """Return the moment of a text in ISO 8601, else in the training table's form."""
        if not isinstance(raw, str):
            raise Wrong("wrong_type")
        if not self._own_form:
            return self.cell(raw)
        try:
            return _iso(raw)
        except Wrong:
            return self.cell(raw)

    def _numbers(self, raw: Any) -> tuple[float, ...]:
        if raw is msgspec.UNSET:
            return (inf,) * len(self._parts)
        return self._encoded(self.value(raw) if self._own_form or raw is None else self.cell(raw))

    def _numbers_of_cell(self, text: str) -> tuple[float, ...]:
        return self._encoded(self.cell(text))

    def _encoded(self, value: Value) -> tuple[float, ...]:
        return date_numbers(value, self._parts) if isinstance(value, datetime) else (nan,) * len(self._parts)


def read_value(reader: Reader, raw: Any) -> Value:
    """Return the value of a member of a JSON object. Raises Wrong."""
    return reader.value(raw)


def read_cell(reader: Reader, raw: Any) -> Value:
    """Return the value of a CSV's cell. Raises Wrong."""
    return reader.cell(raw)


def _iso(text: str) -> datetime:
    try:
        return cells.parse_date(text[:_LONGEST_DATE])
    except ValueError:
        raise Wrong("wrong_value") from None


def _stack(numbers: Any, rows: int) -> npt.ArrayLike:
    return np.fromiter(chain.from_iterable(numbers), np.float32).reshape(rows, -1)


def make_readers(contract: Contract, reading: Reading) -> list[Reader]:
    """Return a reader for each feature."""
    return [_make(feature, reading) for feature in contract.features]


def _make(feature: Feature, reading: Reading) -> Reader:
    match feature:
        case NumberFeature():
            return _Numbers(feature, reading)
        case BooleanFeature():
            return _Booleans(feature, reading)
        case CategoryFeature():
            return _Categories(feature, reading)
        case DateFeature():
            return _Dates(feature, reading)
