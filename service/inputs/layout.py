"""The columns of each feature in the matrix of encoded rows, and the range of its values in training.

Each feature has one watched column, which the service compares with its range and counts for
drift: the number, 1 or 0, the category's code, or a date's days since 1970. The days of dates
are in additional columns behind the model's matrix; the other watched columns are in the matrix.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from service.cells import LARGEST
from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature
from service.encoding import MISSING, Matrix, date_numbers


class Outside(NamedTuple):
    """A value that training didn't have."""

    instance: int
    feature: Feature

    @property
    def kind(self) -> str:
        """Kind of the warning: unseen_category or out_of_range."""
        return warning_kind(self.feature)


class Layout:
    """The columns and ranges of a contract's features."""

    def __init__(self, contract: Contract) -> None:
        self._features = contract.features
        self.width = len(contract.columns)
        """Number of columns of the model's matrix."""
        self.columns = _columns(contract.features)
        """Indices of each feature's columns; the last one is watched."""
        self.watched = np.array([columns[-1] for columns in self.columns], dtype=np.intp)
        """Index of each feature's watched column."""
        self.strict = any(feature.strict for feature in contract.features)
        """True if at least one feature is strict."""
        self.size = sum(map(len, self.columns))
        """Number of all columns: those of the model's matrix and the days of dates."""
        finite = np.finfo(np.float32)
        self._low, self._high = np.full((2, self.size), [[finite.min], [finite.max]], dtype=np.float32)
        for place, feature in zip(self.watched, contract.features, strict=True):
            self._low[place], self._high[place] = training_range(feature)

    def join(self, encoded: Sequence[Matrix]) -> Matrix:
        """Return all columns, shape (rows, size), from the encoded columns of each feature."""
        numbers = np.empty((len(encoded[0]), self.size), dtype=np.float32)
        for places, column in zip(self.columns, encoded, strict=True):
            numbers[:, places] = column
        return numbers

    def matrix(self, numbers: Matrix) -> Matrix:
        """Return the model's matrix, shape (rows, width), from all columns."""
        return numbers if self.size == self.width else np.ascontiguousarray(numbers[:, : self.width])

    def find_outside(self, numbers: Matrix) -> list[Outside]:
        """Return the values in all columns that are outside the training ranges, in the order of rows."""
        beyond = (numbers < self._low) | (numbers > self._high)
        if not np.count_nonzero(beyond):
            return []
        places = np.argwhere(beyond[:, self.watched]).tolist()
        return [Outside(row, self._features[feature]) for row, feature in places]

    def draw(self, rows: int) -> Matrix:
        """Return rows for the model in which each column is spread evenly over its training range."""
        width = self.width
        is_watched = np.isin(np.arange(width), self.watched)
        low = np.where(is_watched, self._low[:width], 0.0)
        high = np.where(is_watched, self._high[:width], 31.0)
        # Multiples of a different square root per column, modulo 1; importing NumPy's generators takes 5 MB.
        parts = np.arange(1, rows + 1)[:, None] * np.sqrt(np.arange(width) + 0.618) % 1.0
        drawn: Matrix = (low + (high - low) * parts).astype(np.float32)
        return drawn


def _columns(features: tuple[Feature, ...]) -> list[list[int]]:
    """Return each feature's columns. Days follow the model's columns, the last date's first, like in `RowReader`."""
    ends = [0, *accumulate(len(feature.columns) for feature in features)]
    found = [list(range(start, end)) for start, end in pairwise(ends)]
    dates = [columns for feature, columns in zip(features, found, strict=True) if isinstance(feature, DateFeature)]
    for place, columns in enumerate(reversed(dates), start=ends[-1]):
        columns.append(place)
    return found


def training_range(feature: Feature) -> tuple[float, float]:
    """Return the lowest and the highest value of the feature's watched column in training."""
    match feature:
        case BooleanFeature():
            return 0.0, 1.0
        case CategoryFeature():
            return MISSING, len(feature.categories) - 1.0
        case DateFeature() if not feature.strict and "days" not in feature.parts:
            return -LARGEST, LARGEST  # the model has no days, so a later date isn't outside
        case DateFeature():
            low, high = map(datetime.fromisoformat, (feature.minimum, feature.maximum))
            return date_numbers(low, ["days"])[0], date_numbers(high, ["days"])[0]
        case _:
            return feature.minimum, feature.maximum


def warning_kind(feature: Feature) -> str:
    """Return the kind of warning that a value of the feature can cause."""
    return "unseen_category" if isinstance(feature, CategoryFeature) else "out_of_range"
