"""The contract of a model: its features, their values and their encoding.

The pipeline writes it once, and the ONNX file contains it as metadata. Training, evaluation and
service encode rows with this module, so they encode them in the same way.
"""

import operator
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from service.cells import Reading
from service.encoding import MISSING, DatePart, Matrix, encode_categories, encode_dates, encode_numbers

CONTRACT_VERSION: Final = 3
"""The latest version. A contract without derived features has version 2."""
METADATA_KEY = "contract"
SCORE_BINS_KEY = "score_bins"
COSTS_KEY = "costs"
BACKGROUND_KEY = "background"
"""The metadata with the background rows that explanations compare with (docs/how-to/explanations.md)."""
COVERAGE_KEY = "coverage"
"""The metadata with the errors from which prediction intervals and sets are computed (docs/how-to/coverage.md)."""


Label = StrictBool | StrictInt | StrictStr


def class_name(label: Label) -> str:
    """Return a class's name as a key of a JSON object: true, 1, late."""
    return label if isinstance(label, str) else str(label).lower()


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Feature(_Frozen):
    name: str
    nullable: bool
    """True if any row of the table, training or test, has no value here."""
    strict: bool = False
    """True if the service refuses values that training didn't have; otherwise it adds a warning."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns; only dates have several."""
        return (self.name,)

    def encode(self, values: Any) -> Matrix:
        """Return shape (rows, columns); None, NA and NaN become NaN."""
        return encode_numbers(values)


class NumberFeature(_Feature):
    """A real number; encoded as float32."""

    type: Literal["number"] = "number"
    minimum: float
    maximum: float
    bin_edges: tuple[float, ...]
    """Inner edges of the training quantile bins, ascending; bin i has edge[i-1] < x <= edge[i]."""
    bin_shares: tuple[float, ...]
    """Share of the training rows in each bin (len(bin_edges) + 1), then of those with no value; sums to 1."""


class BooleanFeature(_Feature):
    """True or false; encoded as 1 and 0."""

    type: Literal["boolean"] = "boolean"
    bin_shares: tuple[float, float, float]
    """Share of the training rows that are false, true, missing; sums to 1."""


class CategoryFeature(_Feature):
    """One of a set of names; encoded as its index in `categories`, `MISSING` or `UNSEEN`."""

    type: Literal["category"] = "category"
    categories: tuple[str, ...]
    bin_shares: tuple[float, ...]
    """Share of the training rows in each category, then of those with no value; sums to 1 with `unseen_share`."""
    unseen_share: float = 0.0
    """Share of the training rows whose category is not among `categories`."""
    unseen_share_in_new_rows: float = 0.0
    """The share to expect in new rows even without drift, estimated from the training rows; at least `unseen_share`."""
    rare_share: float = 0.0
    """For drift, categories with at most this share of the training rows count as unseen: which of them occur in new
    rows is chance."""

    @cached_property
    def codes(self) -> dict[Any, float]:
        """The code of each known category, and of None."""
        return {name: float(code) for code, name in enumerate(self.categories)} | {None: MISSING}

    def encode(self, values: Any) -> Matrix:
        """Return codes of shape (rows, 1); None, NA and NaN become `MISSING`, other unknown values `UNSEEN`."""
        return encode_categories(values, self.codes)


class DateFeature(_Feature):
    """A date or date with time (ISO 8601, no zone or UTC); encoded as the calendar parts that vary."""

    type: Literal["date"] = "date"
    minimum: str
    maximum: str
    parts: tuple[DatePart, ...]
    """days since 1970-01-01, with fraction; month 1-12; day of the month 1-31; weekday 0-6 from Monday; hour 0-23.

    Only for derived features: dayofyear 1-366; and date, second and microsecond, whole numbers that together are the
    exact moment: days since 1970-01-01, seconds of the day, microseconds of the second.
    """
    bin_edges: tuple[float, ...]
    """As for numbers, in days since 1970-01-01."""
    bin_shares: tuple[float, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns, such as ``when.month``."""
        return tuple(f"{self.name}.{part}" for part in self.parts)

    def encode(self, values: Any) -> Matrix:
        """Return shape (rows, len(parts)); a missing date is NaN in every part."""
        return encode_dates(values, self.parts)


Feature = Annotated[NumberFeature | BooleanFeature | CategoryFeature | DateFeature, Field(discriminator="type")]


class ScoreBins(_Frozen):
    """The distribution of the model's scores on test and training rows, with which live scores are compared.

    A score is the probability of the positive class (binary) or of the predicted class
    (multiclass), or the predicted value (regression).
    """

    edges: tuple[float, ...]
    """Inner edges of the quantile bins, ascending; bin i has edge[i-1] < x <= edge[i]."""
    shares: tuple[float, ...]
    """Share of the test rows in each bin, len(edges) + 1 of them; sums to 1."""
    training_shares: tuple[float, ...] = ()
    """The same for the training rows; empty in older files."""


class Contract(_Frozen):
    """What a model was trained on: task, target and features, in the order of the matrix."""

    version: Literal[1, 2, 3] = 2
    task: Literal["binary", "multiclass", "regression"]
    target: str
    classes: tuple[Label, ...]
    """Class labels in the order of the probabilities; empty for regression."""
    positive: Label | None = None
    """Binary: the class to which the threshold applies, one of `classes`; otherwise None."""
    features: tuple[Feature, ...]
    example: dict[str, bool | int | float | str] = {}
    """A typical row, by feature, that isn't in the table; empty in contracts of version 1."""
    left_out: tuple[str, ...] = ()
    """Columns of the training table that are neither features nor the target."""
    reading: Reading = Reading()
    """How the cells of the training table were read. Contracts of version 1 use the defaults."""
    derived: dict[str, str] = Field({}, exclude_if=operator.not_)
    """The expressions of derived features by name, which the model's graph computes from the matrix."""
    inputs_only: tuple[str, ...] = Field((), exclude_if=operator.not_)
    """Columns of the matrix that only derived features use."""

    @cached_property
    def ignored(self) -> frozenset[str]:
        """Columns of the training table that requests may have, and the service ignores."""
        return frozenset((self.target, *self.left_out))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the matrix's columns."""
        return tuple(column for feature in self.features for column in feature.columns)

    def encode(self, table: Any) -> Matrix:
        """Encode a DataFrame, or a mapping from each column's name to a list or array, as the model's matrix.

        Raises KeyError for a missing column and ValueError for values that aren't numbers
        or dates.
        """
        matrix: Matrix = np.empty((0, len(self.columns)), np.float32)
        start = 0
        for feature in self.features:
            encoded = feature.encode(table[feature.name])
            if start == 0:
                # Fill it column by column, so that a wide table isn't in memory twice.
                matrix = np.empty((len(encoded), len(self.columns)), np.float32)
            matrix[:, start : start + encoded.shape[1]] = encoded
            start += encoded.shape[1]
        return matrix
