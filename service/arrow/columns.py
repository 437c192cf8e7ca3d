"""Columns of Arrow's types, checked against the contract and encoded.

Imports pyarrow, and is itself imported when the first such table comes.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import nan
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from service.contract import MISSING, BooleanFeature, CategoryFeature, Contract, DateFeature, Feature, Matrix
from service.http.problems import FieldError
from service.inputs import moments
from service.inputs.columns import check_names
from service.inputs.explain import Findings, clip, expected
from service.inputs.layout import MAX_NUMBER, Layout
from service.inputs.rows import Encoded, Unclear, codes

Numbers = npt.NDArray[np.float64]
Encode = Callable[[Any, bool], Numbers]
"""Makes numbers of an array; the flag tells whether values may be missing."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # as the contract has dates: without a zone, in UTC
_MICROSECONDS: Final = {"s": 1_000_000, "ms": 1000, "us": 1}
_SHOWN: Final = 100


class ArrowReader:
    """Reads batches of rows with these columns; null, and NaN as pandas writes it, is a missing value.

    Raises Problem if names or types are not those of the contract.
    """

    def __init__(self, contract: Contract, layout: Layout, schema: Any) -> None:
        check_names(contract, schema.names)
        _check_types(contract, schema)
        self._features = contract.features
        self._names = schema.names
        self._layout = layout
        self._plan: list[tuple[Feature, slice, int | None, Encode]] = []
        column = dates = 0
        for feature, watched in zip(contract.features, layout.watched.tolist(), strict=True):
            where = slice(column, column + len(feature.columns))
            is_date = isinstance(feature, DateFeature)
            self._plan.append((feature, where, watched if is_date else None, _encoder(feature)))
            column, dates = where.stop, dates + is_date
        self._width = column + dates

    def encode(self, batch: Any) -> Encoded:
        """Encode a batch. Raises Unclear if a value is wrong."""
        numbers: Matrix = np.empty((batch.num_rows, self._width), dtype=np.float32)
        for feature, where, days, encode in self._plan:
            if feature.name in self._names:
                encoded = encode(batch.column(feature.name), feature.nullable)
            else:
                width = len(feature.columns) + (days is not None)
                encoded = np.full((batch.num_rows, width), MISSING if isinstance(feature, CategoryFeature) else nan)
            with np.errstate(invalid="ignore"):  # of a NaN that signals, which a stranger's may
                if days is None:
                    numbers[:, where.start] = encoded.reshape(-1)
                else:
                    numbers[:, where], numbers[:, days] = encoded[:, :-1], encoded[:, -1]
        return Encoded(numbers, self._layout.outside(numbers))

    def instances(self, batch: Any) -> list[dict[str, Any]]:
        """Give rows as JSON would have them: dates as ISO 8601, NaN as null."""
        features = {feature.name: feature for feature in self._features}
        columns = [_values(features[name], batch.column(name)) for name in self._names]
        return [dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True)] if columns else []


def _check_types(contract: Contract, schema: Any) -> None:
    findings = Findings()
    known = {feature.name: feature for feature in contract.features}
    for field in schema:
        feature = known[field.name]
        if not _is_taken(feature, field.type):
            error = FieldError(f"a column of {expected(feature)}", clip(f"a column of {field.type}"), field=field.name)
            findings.add(error, "wrong_type", field.name)
    if findings.count:
        raise findings.problem()


def _is_taken(feature: Feature, kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    if types.is_null(kind):
        return True
    match feature:
        case CategoryFeature():
            return is_text(kind) or bool(types.is_integer(kind))
        case DateFeature():
            return is_text(kind) or bool(types.is_timestamp(kind) or types.is_date(kind))
        case BooleanFeature():
            return bool(types.is_boolean(kind))
        case _:
            return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def is_text(kind: Any) -> bool:
    """Tell whether a type is one of Arrow's texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _encoder(feature: Feature) -> Encode:
    match feature:
        case CategoryFeature():
            known = codes(feature)
            return lambda column, nullable: _codes(known, column, nullable=nullable)
        case DateFeature():
            read = moments.reader(feature)
            return lambda column, nullable: _dates(read, column, nullable=nullable)
        case _:
            return lambda column, nullable: _numbers(column, nullable=nullable)


def _numbers(column: Any, *, nullable: bool) -> Numbers:
    """Give numbers rounded to float64, as JSON's and CSV's are before they are float32."""
    numbers = _floats(column)
    if not nullable and np.isnan(numbers).any():
        raise Unclear
    if np.any(np.abs(numbers) > MAX_NUMBER):
        raise Unclear
    return numbers


def _floats(column: Any) -> Numbers:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_decimal(column.type):  # Arrow's own cast is not always to the nearest
        return np.array([nan if value is None else float(value) for value in column.to_pylist()], dtype=np.float64)
    floats = column.cast(pa.float64(), safe=False)
    return np.asarray(floats.to_numpy(zero_copy_only=False), dtype=np.float64)


def _codes(known: dict[Any, float], column: Any, *, nullable: bool) -> Numbers:
    texts, places = _different(column)
    if not nullable and None in texts:
        raise Unclear
    return np.array([known[text] for text in texts], dtype=np.float64)[places]


def _dates(read: Callable[[Any], moments.Numbers], column: Any, *, nullable: bool) -> Numbers:
    """Give the parts of dates and, last, their days."""
    texts, places = _different(column)
    if not nullable and None in texts:
        raise Unclear
    try:
        return np.array([read(text) for text in texts], dtype=np.float64)[places]
    except ValueError as error:
        raise Unclear from error


def _different(column: Any) -> tuple[list[Any], npt.NDArray[np.intp]]:
    """Give the different values that there are, as JSON has them, and the place among them of each row's."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        ticks = column.cast(pa.int32()).cast(pa.int64()) if pa.types.is_date32(column.type) else column.cast(pa.int64())
        return _different_moments(ticks, column.type)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if pa.types.is_timestamp(column.type.value_type) or pa.types.is_date(column.type.value_type):
        return _different(column.dictionary_decode())
    known = column.dictionary
    if pa.types.is_string_view(known.type):  # of which Arrow cannot take some
        known = known.cast(pa.large_string())
    return _used(column.indices, lambda used: _texts(known.take(used)))


def _texts(values: Any) -> list[Any]:
    """Give texts, and whole numbers as CSV would spell them."""
    return (values if is_text(values.type) else values.cast(pa.string())).to_pylist()  # type: ignore[no-any-return]  # pyarrow has no types


def _used(indices: Any, give: Callable[[Any], list[Any]]) -> tuple[list[Any], npt.NDArray[np.intp]]:
    numbers = indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    used, places = np.unique(numbers, return_inverse=True)
    missing = bool(len(used)) and used[0] < 0
    values = give(pa.array(used[1:] if missing else used))
    return [None, *values] if missing else values, places.reshape(-1)


def _different_moments(ticks: Any, kind: Any) -> tuple[list[Any], npt.NDArray[np.intp]]:
    numbers = ticks.fill_null(0).to_numpy(zero_copy_only=False)
    used, places = np.unique(numbers, return_inverse=True)
    texts: list[Any] = [_iso(tick, kind) for tick in used.tolist()]
    if ticks.null_count:
        places = np.where(ticks.is_null().to_numpy(zero_copy_only=False), len(texts), places)
        texts = [*texts, None]
    return texts, places.reshape(-1)


def _iso(tick: int, kind: Any) -> str:
    """Spell a moment, in UTC, cut off at microseconds; one beyond the years 1 to 9999 as no date."""
    try:
        if pa.types.is_date32(kind):
            return (_EPOCH + timedelta(days=tick)).isoformat()
        unit = "ms" if pa.types.is_date64(kind) else kind.unit
        microseconds = tick // 1000 if unit == "ns" else tick * _MICROSECONDS[unit]
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return f"{tick} {kind} since 1970"


def _values(feature: Feature, column: Any) -> Sequence[Any]:
    """Give a column's values as JSON has them; those that are equal are one object, however long."""
    match feature:
        case CategoryFeature() | DateFeature():
            different, places = _different(column)
            # Of a text longer than any name no more than that is told of.
            longest = 1 + max([_SHOWN, *map(len, getattr(feature, "categories", ()))])
            texts = [text if text is None else text[:longest] for text in different]
            return [texts[place] for place in places.tolist()]
        case BooleanFeature():
            return pc.cast(column, pa.bool_()).to_pylist()  # type: ignore[no-any-return]  # pyarrow has no types
        case _:
            return [None if value != value else value for value in _floats(column).tolist()]  # noqa: PLR0124  # NaN
