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
from service.encoding import encode_dates
from service.inputs.layout import training_range
from service.inputs.readers import InvalidValueError, Reader
from stages.errors import UserError
from stages.predict.moments import Moments

_FIRST_SECOND: Final = -62_135_596_800
_END_SECOND: Final = 253_402_300_800
"""The first second of the year 1, and the one after the year 9999, since 1970."""
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

Mask = npt.NDArray[np.bool_]
Columns = npt.NDArray[np.float32]
"""Columns of the model's matrix, shape (columns, rows)."""


class Doubts(NamedTuple):
    """Rows of a column whose value needs a warning or is refused."""

    outside: Mask | None = None
    """The rows whose value training didn't have; None if there are none."""
    wrong: Mask | None = None
    """The rows whose value the model doesn't accept; None if there are none."""


class ColumnEncoder:
    """Encodes the values of one feature."""

    def __init__(self, feature: Feature, reading: Reading) -> None:
        self.feature = feature
        self.reader = Reader(feature, reading)
        self._low, self._high = map(np.float32, training_range(feature))
        self._missing = pa.array(sorted(reading.missing_texts(feature.name)), pa.string())
        self._plain = reading.decimal == "."
        self._iso = feature.name not in reading.dates
        self._moments = Moments(feature.parts if isinstance(feature, DateFeature) else ())
        self._has_days = self._high != np.float32(LARGEST)
        """Whether a date's days are compared with those in training."""
        self._texts: _Texts | None = None

    def encode(self, column: pa.Array, numbers: Columns) -> Doubts:
        """Encode a column of any type into `numbers`, the feature's columns of the model's matrix."""
        kind, wanted = column.type, self.feature.type
        if wanted == "number" and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return self._encode_numbers(column, numbers)
        if wanted == "date" and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            return self._encode_moments(column, numbers)
        if wanted == "boolean" and pa.types.is_boolean(kind):
            return self._encode_numbers(column.cast(pa.float64()), numbers)
        if pa.types.is_null(kind):
            return self._encode_texts(pa.array([""] * len(column)), numbers)
        if pa.types.is_dictionary(kind):
            return self._encode_texts(column, numbers)
        texts = self._to_text(column)
        return self._encode_cells(texts, numbers) or self._encode_texts(texts, numbers)

    def _encode_numbers(self, column: pa.Array, numbers: Columns) -> Doubts:
        if column.null_count and column.type == pa.float64():
            column = pc.fill_null(column, np.nan)  # in half the time of what follows
        values = column.to_numpy(zero_copy_only=False)  # NaN where a value is missing
        if values.dtype != np.float64:
            values = values.astype(np.float64)
        with np.errstate(over="ignore"):
            numbers[0] = values
        wrong = None if self.feature.nullable else _if_any(np.isnan(values))
        outside = self._find_outside(numbers[0])
        if outside is not None:
            too_large = _if_any(np.abs(values) > LARGEST)
            wrong = too_large if wrong is None else wrong if too_large is None else wrong | too_large
        return Doubts(outside, wrong)

    def _encode_moments(self, column: pa.Array, numbers: Columns) -> Doubts:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp(column.type.unit))  # in UTC, without a zone
            first, last = pc.min_max(column.cast(pa.int64())).values()
            one = _PER_SECOND[column.type.unit]
            if first.is_valid and not (first.as_py() >= _FIRST_SECOND * one and last.as_py() < _END_SECOND * one):
                return self._encode_texts(column.cast(pa.string()), numbers)
        in_microseconds = column.cast(pa.timestamp("us"), safe=False)
        moments = in_microseconds.to_numpy(zero_copy_only=False).astype("datetime64[us]", copy=False)
        self._moments.encode(moments, numbers)
        wrong = None if self.feature.nullable else _if_any(np.isnat(moments))
        outside = self._find_outside(encode_dates(moments, ["days"])[:, 0]) if self._has_days else None
        return Doubts(outside, wrong)

    def _encode_cells(self, column: pa.Array, numbers: Columns) -> Doubts | None:
        """Encode text with numbers or ISO dates; return None if it has other cells."""
        if self.feature.type == "number" and self._plain:
            values = self._cast(column, pa.float64())
            if values is not None and pc.all(pc.is_finite(values), min_count=0).as_py() is not False:
                return self._encode_numbers(values, numbers)
        if self.feature.type == "date" and self._iso:
            for zone in (None, "UTC"):
                moments = self._cast(column, pa.timestamp("us", zone))
                if moments is not None:
                    return self._encode_moments(moments, numbers)
        return None

    def _cast(self, column: pa.Array, kind: pa.DataType) -> pa.Array | None:
        """Return text as `kind`, null where it means a missing value; None if a cell is other text."""
        texts = pc.utf8_trim_whitespace(column)
        texts = pc.if_else(pc.is_in(texts, value_set=self._missing), pa.scalar(None, pa.string()), texts)
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            return None

    def _encode_texts(self, column: pa.Array, numbers: Columns) -> Doubts:
        """Encode text through the service's reader, once for each different text."""
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        known = self._texts
        if known is None or not column.dictionary.equals(known.texts):
            self._texts = known = self._read(column.dictionary)
        indices = column.indices.fill_null(len(column.dictionary)) if column.null_count else column.indices
        places = indices.to_numpy(zero_copy_only=False)
        for encoded, numbers_of_texts in zip(numbers, known.numbers, strict=False):  # the last ones may be days
            np.take(numbers_of_texts, places, out=encoded, mode="clip")  # other modes copy the output
        return Doubts(*(_if_any(mask[places]) if mask.any() else None for mask in (known.outside, known.wrong)))

    def _read(self, texts: pa.Array) -> "_Texts":
        values: list[Any] = []
        wrong = []
        for text in [*self._to_text(texts).to_pylist(), ""]:  # the last one is for null
            try:
                values.append(self.reader.cell(text or ""))
                wrong.append(False)
            except InvalidValueError:
                values.append(None)
                wrong.append(True)
        numbers = np.ascontiguousarray(self.reader.encode(values).T)
        return _Texts(texts, numbers, self._is_outside(numbers[-1]), np.array(wrong))

    def _to_text(self, column: pa.Array) -> pa.Array:
        """Return the column as text. Raises UserError if it holds lists or the like, or bytes that are no text."""
        try:
            return column.cast(pa.string())
        except pa.ArrowException:
            name = self.feature.name
            raise UserError(f"the column {name!r} has the type {column.type}, which can't be read as text") from None

    def _find_outside(self, watched: npt.NDArray[np.float32]) -> Mask | None:
        if (
            np.fmin.reduce(watched, initial=self._low) >= self._low
            and np.fmax.reduce(watched, initial=self._high) <= self._high
        ):
            return None
        return _if_any(self._is_outside(watched))

    def _is_outside(self, watched: npt.NDArray[np.float32]) -> Mask:
        outside: Mask = (watched < self._low) | (watched > self._high)
        return outside


class _Texts(NamedTuple):
    """Different texts of a column, encoded."""

    texts: pa.Array
    numbers: Columns
    """For each text, and last for a missing value."""
    outside: Mask
    wrong: Mask


def _if_any(mask: Mask) -> Mask | None:
    return mask if mask.any() else None


def show(column: pa.Array, row: int) -> Any:
    """Return a value of a column for messages."""
    value = column[row].as_py()
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
