"""The contract between a trained model and whoever sends it rows.

It is written once by the pipeline, travels inside the ONNX file as metadata, and says
which features a row has, what values they take, and how they become numbers. Training,
evaluation and serving all encode through this one module, so they cannot drift apart.
"""

from functools import cached_property
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from service.cells import Reading
from service.encoding import MISSING, DatePart, Matrix, encode_categories, encode_dates, encode_numbers

CONTRACT_VERSION: Literal[2] = 2
METADATA_KEY = "contract"
SCORE_BINS_KEY = "score_bins"


class Columns(Protocol):
    """A mapping of arrays or lists of equal length by column name, or a DataFrame."""

    def __getitem__(self, name: str, /) -> Any:
        """Give the values of the column `name`."""


Label = StrictBool | StrictInt | StrictStr


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Feature(_Frozen):
    name: str
    nullable: bool
    """True if any row of the whole table, training and test, had no value here."""
    strict: bool = False
    """True if values beyond those of training are refused instead of reported."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns: one, but for dates."""
        return (self.name,)

    def encode(self, values: Any) -> Matrix:
        """Return shape (rows, columns): numbers and truth values as they are; None, NA and NaN become NaN."""
        return encode_numbers(values)


class NumberFeature(_Feature):
    """A real number; encoded as float32."""

    type: Literal["number"] = "number"
    minimum: float
    maximum: float
    bin_edges: tuple[float, ...]
    """Inner edges of the training quantile bins, rising; bin i holds edge[i-1] < x <= edge[i]."""
    bin_shares: tuple[float, ...]
    """Share of the training rows in each bin (len(bin_edges) + 1), then of those with no value; sums to 1."""


class BooleanFeature(_Feature):
    """True or false; encoded as 1 and 0."""

    type: Literal["boolean"] = "boolean"
    bin_shares: tuple[float, float, float]
    """Share of the training rows that are false, true, missing; sums to 1."""


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

    @cached_property
    def codes(self) -> dict[Any, float]:
        """The code of each known category, and of None."""
        return {name: float(code) for code, name in enumerate(self.categories)} | {None: MISSING}

    def encode(self, values: Any) -> Matrix:
        """Return shape (rows, 1); None, NA and NaN are missing, whatever is no known text is unseen."""
        return encode_categories(values, self.codes)


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
        """Return shape (rows, len(parts)); a missing date is NaN in every part."""
        return encode_dates(values, self.parts)


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
    left_out: tuple[str, ...] = ()
    """Columns of the training table that are no features; a row may have them, and they are passed over."""
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
