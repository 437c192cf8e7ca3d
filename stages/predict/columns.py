"""Encode the columns of a table for the model: text cells, or Arrow's own types.

A text cell means what it means in CSV that the service reads. Most columns take a fast way for whole arrays; the
others, and cells that the fast way doesn't read, go through the service's reader, once for each different text.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from service.cells import LARGEST, Reading
from service.contract import DateFeature, Feature
from service.encoding import DatePart, Matrix, encode_dates
from service.inputs.layout import training_range
from service.inputs.readers import InvalidValueError, Reader

_FIRST_SECOND: Final = -62_135_596_800
_END_SECOND: Final = 253_402_300_800
"""The first second of the year 1, and the one after the year 9999, since 1970."""
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

Mask = npt.NDArray[np.bool_]


class Encoded(NamedTuple):
    """A column as the model sees it."""

    numbers: Matrix
    """Shape (rows, the feature's columns of the matrix)."""
    watched: npt.NDArray[np.float32]
    """The value that is compared with the range in training, shape (rows,)."""
    wrong: Mask | None = None
    """The rows whose value the model doesn't accept; None if there are none."""


class ColumnEncoder:
    """Encodes the values of one feature."""

    def __init__(self, feature: Feature, reading: Reading) -> None:
        self.feature = feature
        self.reader = Reader(feature, reading)
        self.low, self.high = map(np.float32, training_range(feature))
        self._missing = pa.array(sorted(reading.missing_texts(feature.name)), pa.string())
        self._plain = reading.decimal == "."
        self._iso = feature.name not in reading.dates
        self._parts: tuple[DatePart, ...] = (*feature.parts, "days") if isinstance(feature, DateFeature) else ()
        self._width = len(feature.columns)

    def encode(self, column: pa.Array) -> Encoded:
        """Encode a column of any type; a value that the feature doesn't accept is marked as wrong."""
        kind, wanted = column.type, self.feature.type
        if wanted == "number" and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return self._numbers(column)
        if wanted == "date" and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            return self._moments(column)
        if wanted == "boolean" and pa.types.is_boolean(kind):
            return self._numbers(column.cast(pa.float64()))
        if pa.types.is_null(kind):
            return self._cells(pa.array([""] * len(column)))
        return self._cells(column) if pa.types.is_dictionary(kind) else self._text(column.cast(pa.string()))

    def outside(self, encoded: Encoded) -> Mask:
        """Return which rows have a value that training didn't have."""
        return (encoded.watched < self.low) | (encoded.watched > self.high)

    def _numbers(self, column: pa.Array) -> Encoded:
        values = column.to_numpy(zero_copy_only=False)  # NaN where a value is missing
        if values.dtype != np.float64:
            values = values.astype(np.float64)
        with np.errstate(over="ignore"):
            numbers = values.astype(np.float32)
        wrong = np.abs(values) > LARGEST
        if not self.feature.nullable:
            wrong |= np.isnan(values)
        return Encoded(numbers.reshape(-1, 1), numbers, wrong if wrong.any() else None)

    def _moments(self, column: pa.Array) -> Encoded:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp(column.type.unit))  # in UTC, without a zone
            first, last = pc.min_max(column.cast(pa.int64())).values()
            one = _PER_SECOND[column.type.unit]
            if first.is_valid and not (first.as_py() >= _FIRST_SECOND * one and last.as_py() < _END_SECOND * one):
                return self._cells(column.cast(pa.string()))
        moments = column.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
        encoded = encode_dates(moments.astype("datetime64[us]", copy=False), self._parts)
        missing = np.isnat(moments)
        return Encoded(encoded[:, :-1], encoded[:, -1], None if self.feature.nullable or not missing.any() else missing)

    def _text(self, column: pa.Array) -> Encoded:
        """Encode text: whole arrays of numbers and ISO dates at once, other text once for each different one."""
        wanted = self.feature.type
        if wanted == "number" and self._plain:
            numbers = self._cast(column, pa.float64())
            if numbers is not None and pc.all(pc.is_finite(numbers), min_count=0).as_py() is not False:
                return self._numbers(numbers)
        if wanted == "date" and self._iso:
            for zone in (None, "UTC"):
                moments = self._cast(column, pa.timestamp("us", zone))
                if moments is not None:
                    return self._moments(moments)
        return self._cells(column)

    def _cast(self, column: pa.Array, kind: pa.DataType) -> pa.Array | None:
        """Return text as `kind`, null where it means a missing value; None if a cell is other text."""
        texts = pc.utf8_trim_whitespace(column)
        texts = pc.if_else(pc.is_in(texts, value_set=self._missing), pa.scalar(None, pa.string()), texts)
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            return None

    def _cells(self, column: pa.Array) -> Encoded:
        """Encode text through the service's reader, once for each different text."""
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        texts = [text or "" for text in column.dictionary.cast(pa.string()).to_pylist()]
        values, refused = [], []
        for text in [*texts, ""]:  # the last one is for null
            try:
                values.append(self.reader.cell(text))
                refused.append(False)
            except InvalidValueError:
                values.append(None)
                refused.append(True)
        places = column.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
        encoded = self.reader.encode(values)[places]
        wrong = np.array(refused)[places] if any(refused) else None
        return Encoded(encoded[:, : self._width], encoded[:, -1], wrong if wrong is not None and wrong.any() else None)


def show(column: pa.Array, row: int) -> Any:
    """Return a value of a column for messages."""
    value = column[row].as_py()
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
