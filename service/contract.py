"""The contract between a trained model and whoever sends it rows.

It is written once by the pipeline, travels inside the ONNX file as metadata, and says
which features a row has, what values they take, and how they become numbers. Training,
evaluation and serving all encode through this one module, so they cannot drift apart.
"""

from typing import Annotated, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

CONTRACT_VERSION: Literal[1] = 1
METADATA_KEY = "contract"

MISSING = -1.0
"""Code of a category that is missing; known categories count from 0."""
UNSEEN = -2.0
"""Code of a category that training did not know."""

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
        """Give shape (rows, 1); None and NaN become NaN."""
        return np.asarray(values, dtype=np.float32).reshape(-1, 1)


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
        """Give shape (rows, 1); None and NaN become NaN."""
        return np.asarray(values, dtype=np.float32).reshape(-1, 1)


class CategoryFeature(_Feature):
    """One name out of a set; encoded as its place in `categories`, `MISSING` or `UNSEEN`."""

    type: Literal["category"] = "category"
    categories: tuple[str, ...]
    bin_shares: tuple[float, ...]
    """Share of the training rows in each category, then of those with no value."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns."""
        return (self.name,)

    def encode(self, values: Any) -> Matrix:
        """Give shape (rows, 1)."""
        codes: dict[Any, float] = {name: float(code) for code, name in enumerate(self.categories)}
        codes[None] = MISSING
        # A missing value is None or a NaN, the only value that differs from itself.
        encoded = [codes.get(value, UNSEEN) if value == value else MISSING for value in values]  # noqa: PLR0124
        return np.asarray(encoded, dtype=np.float32).reshape(-1, 1)


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
        """Give shape (rows, len(parts)); a missing date is NaN in every part."""
        moments = np.asarray(values, dtype="datetime64[us]")
        missing = np.isnat(moments)
        encoded = np.stack([_date_part(moments, part) for part in self.parts], axis=1).astype(np.float32)
        encoded[missing] = np.nan
        return encoded


Feature = Annotated[NumberFeature | BooleanFeature | CategoryFeature | DateFeature, Field(discriminator="type")]


class Contract(_Frozen):
    """What a model was trained on: the task, the target and every feature, in the order of the matrix."""

    version: Literal[1] = CONTRACT_VERSION
    task: Literal["binary", "multiclass", "regression"]
    target: str
    classes: tuple[Label, ...]
    """Class labels in the order of the probabilities (binary: the second is the positive one); empty for regression."""
    features: tuple[Feature, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the matrix's columns."""
        return tuple(column for feature in self.features for column in feature.columns)

    def encode(self, table: Columns) -> Matrix:
        """Encode columns of equal length as the model's matrix.

        Raises KeyError for a column that is not there and ValueError for values that
        are no numbers or dates.
        """
        return np.ascontiguousarray(np.hstack([feature.encode(table[feature.name]) for feature in self.features]))


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
