"""The contract between a trained model and whoever sends it rows.

It is written once by the pipeline, travels inside the ONNX file as metadata, and says
which features a row has, what values they take, and how they become numbers. Training,
evaluation and serving all encode through this one module, so they cannot drift apart.
"""

import re
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from service.cells import Reading

CONTRACT_VERSION: Literal[2] = 2
METADATA_KEY = "contract"
SCORE_BINS_KEY = "score_bins"

MISSING = -1.0
"""Code of a category that is missing; known categories count from 0."""
UNSEEN = -2.0
"""Code of a category that training did not know."""

# What NumPy reads by itself, many times as fast as one by one.
_PLAIN_MOMENT = re.compile(r"(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?)?")

Matrix = npt.NDArray[np.float32]
"""Encoded rows, float32, shape (rows, len(contract.columns)), C order; NaN where a number is missing."""


class Columns(Protocol):
    """A mapping of arrays or lists of equal length by column name, or a DataFrame."""

    def __getitem__(self, name: str, /) -> Any:
        """Give the values of the column `name`."""


Label = StrictBool | StrictInt | StrictStr
DatePart = Literal["days", "month", "day", "weekday", "hour"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Feature(_Frozen):
    name: str
    nullable: bool
    """True if training rows had missing values here."""
    strict: bool = False
    """True if values beyond those of training are refused instead of reported."""


class NumberFeature(_Feature):
    """A real number; encoded as float32."""

    type: Literal["number"] = "number"
    minimum: float
    maximum: float
    bin_edges: tuple[float, ...]
    """Inner edges of the training quantile bins, rising; bin i holds edge[i-1] < x <= edge[i]."""
    bin_shares: tuple[float, ...]
    """Share of the training rows in each bin (len(bin_edges) + 1), then of those with no value; sums to 1."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns."""
        return (self.name,)

    def encode(self, values: Any) -> Matrix:
        """Give shape (rows, 1); None, NA and NaN become NaN."""
        return _floats(values)


class BooleanFeature(_Feature):
    """True or false; encoded as 1 and 0."""

    type: Literal["boolean"] = "boolean"
    bin_shares: tuple[float, float, float]
    """Share of the training rows that are false, true, missing; sums to 1."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns."""
        return (self.name,)

    def encode(self, values: Any) -> Matrix:
        """Give shape (rows, 1); None, NA and NaN become NaN."""
        return _floats(values)


class CategoryFeature(_Feature):
    """One name out of a set; encoded as its place in `categories`, `MISSING` or `UNSEEN`."""

    type: Literal["category"] = "category"
    categories: tuple[str, ...]
    bin_shares: tuple[float, ...]
    """Share of the training rows in each category, then of those with no value; sums to 1 with `unseen_share`."""
    unseen_share: float = 0.0
    """Share of the training rows whose category is not among `categories`."""
    unseen_share_in_new_rows: float = 0.0
    """The same of new rows of the same kind, as estimated from the training rows; never less."""
    rare_share: float = 0.0
    """Drift counts the categories with at most this share of the training rows together with the unseen ones:
    new rows of the same kind have them unseen too often."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns."""
        return (self.name,)

    @cached_property
    def _codes(self) -> dict[Any, float]:
        return {name: float(code) for code, name in enumerate(self.categories)} | {None: MISSING}

    def encode(self, values: Any) -> Matrix:
        """Give shape (rows, 1); None, NA and NaN are missing, whatever is no known text is unseen."""
        codes = self._codes
        if hasattr(values, "factorize"):  # a pandas column: each different value is looked up once
            places, different = values.factorize()
            known = [codes.get(value, UNSEEN) for value in different]
            by_place: Matrix = np.asarray([*known, MISSING], dtype=np.float32)[places]  # the place -1 means missing
            return by_place.reshape(-1, 1)
        # A missing value is None or a NaN, the only value that differs from itself.
        encoded = [codes.get(value, UNSEEN) if value == value else MISSING for value in values]  # noqa: PLR0124
        one_by_one: Matrix = np.asarray(encoded, dtype=np.float32)
        return one_by_one.reshape(-1, 1)


class DateFeature(_Feature):
    """A date or date with time (ISO 8601, no zone or UTC); encoded as the calendar parts that vary."""

    type: Literal["date"] = "date"
    minimum: str
    maximum: str
    parts: tuple[DatePart, ...]
    """days: since 1970-01-01, with fraction; month 1-12; day of the month 1-31; weekday 0-6 from Monday; hour 0-23."""
    bin_edges: tuple[float, ...]
    """As for numbers, in days since 1970-01-01."""
    bin_shares: tuple[float, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns, such as ``when.month``."""
        return tuple(f"{self.name}.{part}" for part in self.parts)

    def encode(self, values: Any) -> Matrix:
        """Give shape (rows, len(parts)); a missing date is NaN in every part.

        Values are datetime64, dates, datetimes, or text in ISO 8601; one with a zone counts in UTC.
        """
        moments = _moments(values)
        missing = np.isnat(moments)
        encoded = np.stack([_date_part(moments, part) for part in self.parts], axis=1).astype(np.float32)
        encoded[missing] = np.nan
        return encoded


Feature = Annotated[NumberFeature | BooleanFeature | CategoryFeature | DateFeature, Field(discriminator="type")]


class ScoreBins(_Frozen):
    """How the model's scores are spread over the test and the training rows, to hold live ones against.

    A score is the positive class's probability (binary), the predicted class's
    (multiclass) or the value (regression).
    """

    edges: tuple[float, ...]
    """Inner edges of the quantile bins, rising; bin i holds edge[i-1] < x <= edge[i]."""
    shares: tuple[float, ...]
    """Share of the test rows in each bin, len(edges) + 1 of them; sums to 1."""
    training_shares: tuple[float, ...] = ()
    """The same of the training rows, which the model knows; empty where nobody measured it."""


class Contract(_Frozen):
    """What a model was trained on: the task, the target and every feature, in the order of the matrix."""

    version: Literal[1, 2] = CONTRACT_VERSION
    task: Literal["binary", "multiclass", "regression"]
    target: str
    classes: tuple[Label, ...]
    """Class labels in the order of the probabilities; empty for regression."""
    positive: Label | None = None
    """Binary: the class that the decision threshold is about, one of `classes`; else None."""
    features: tuple[Feature, ...]
    example: dict[str, bool | int | float | str] = {}
    """A typical row that the table does not have, by feature; empty in contracts of version 1."""
    reading: Reading = Reading()
    """How the cells of the training table were read. Version 1 had no such rules; its defaults are in `Reading`."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the matrix's columns."""
        return tuple(column for feature in self.features for column in feature.columns)

    def encode(self, table: Columns) -> Matrix:
        """Encode columns of equal length as the model's matrix.

        Raises KeyError for a column that is not there and ValueError for values that
        are no numbers or dates.
        """
        matrix: Matrix = np.empty((0, len(self.columns)), np.float32)
        start = 0
        for feature in self.features:
            encoded = feature.encode(table[feature.name])
            if start == 0:
                # Filled column by column, so that a wide table is never held twice.
                matrix = np.empty((len(encoded), len(self.columns)), np.float32)
            matrix[:, start : start + encoded.shape[1]] = encoded
            start += encoded.shape[1]
        return matrix


def _floats(values: Any) -> Matrix:
    if hasattr(values, "to_numpy"):  # a pandas column, whose NA NumPy alone cannot convert
        values = values.to_numpy(dtype=np.float32, na_value=np.nan)
    return np.asarray(values, dtype=np.float32).reshape(-1, 1)


def _moments(values: Any) -> npt.NDArray[np.datetime64]:
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind == "M":
        return np.asarray(values, dtype="datetime64[us]")
    if not all(value is None or (isinstance(value, str) and _PLAIN_MOMENT.fullmatch(value)) for value in values):
        values = [_moment(value) for value in values]
    return np.asarray(values, dtype="datetime64[us]")


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        # `value != value` holds for a missing one of pandas alone, which is a datetime by its class.
        return None if value != value else _in_utc(value)  # noqa: PLR0124
    if value is None or isinstance(value, date | np.datetime64):
        return value
    if value != value:  # noqa: PLR0124  # NaN, the only value that differs from itself
        return None
    raise ValueError(f"expected a date in ISO 8601, got {value!r}")


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def _date_part(moments: npt.NDArray[np.datetime64], part: DatePart) -> Any:
    days = moments.astype("datetime64[D]")
    match part:
        case "days":
            return moments.astype(np.int64) / np.float64(86_400_000_000)
        case "month":
            return moments.astype("datetime64[M]").astype(np.int64) % 12 + 1.0
        case "day":
            return (days - moments.astype("datetime64[M]")).astype(np.int64) + 1.0
        case "weekday":
            return (days.astype(np.int64) + 3) % 7 + 0.0
        case "hour":
            return (moments - days).astype(np.int64) // 3_600_000_000 + 0.0
