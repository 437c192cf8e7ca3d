"""Where each feature stands in a matrix of numbers, and between which bounds.

Each feature has one number that is watched, for its range and for drift: the number, 1
or 0, the code of the category, or a date's days. The model's matrix holds them all but
the days, which stand behind it.
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
    """A value beyond those of training."""

    instance: int
    feature: Feature

    @property
    def kind(self) -> str:
        """Which warning it causes: unseen_category or out_of_range."""
        return warning_kind(self.feature)


class Layout:
    """Places and bounds of a contract's numbers."""

    def __init__(self, contract: Contract) -> None:
        self._features = contract.features
        self.width = len(contract.columns)
        """Columns of the model's matrix."""
        self.columns = _columns(contract.features)
        """Columns of each feature, the last being the watched one."""
        self.watched = np.array([columns[-1] for columns in self.columns], dtype=np.intp)
        """Column of each feature's watched number."""
        self.strict = any(feature.strict for feature in contract.features)
        """True if values beyond those of training are refused for some feature."""
        self.size = sum(map(len, self.columns))
        """Columns of all numbers."""
        finite = np.finfo(np.float32)
        self._low, self._high = np.full((2, self.size), [[finite.min], [finite.max]], dtype=np.float32)
        for place, feature in zip(self.watched, contract.features, strict=True):
            self._low[place], self._high[place] = _range(feature)

    def join(self, encoded: Sequence[Matrix]) -> Matrix:
        """Return all numbers, given each feature's."""
        numbers = np.empty((len(encoded[0]), self.size), dtype=np.float32)
        for places, column in zip(self.columns, encoded, strict=True):
            numbers[:, places] = column
        return numbers

    def matrix(self, numbers: Matrix) -> Matrix:
        """Return the model's part of `numbers`."""
        return numbers if self.size == self.width else np.ascontiguousarray(numbers[:, : self.width])

    def find_outside(self, numbers: Matrix) -> list[Outside]:
        """Return the values beyond those of training, row by row."""
        beyond = (numbers < self._low) | (numbers > self._high)
        if not np.count_nonzero(beyond):
            return []
        places = np.argwhere(beyond[:, self.watched]).tolist()
        return [Outside(row, self._features[feature]) for row, feature in places]

    def draw(self, rows: int) -> Matrix:
        """Return rows of the model's matrix spread evenly between the bounds of training, each column by itself."""
        width = self.width
        is_watched = np.isin(np.arange(width), self.watched)
        low = np.where(is_watched, self._low[:width], 0.0)
        high = np.where(is_watched, self._high[:width], 31.0)
        # Multiples of a root, another one for each column; NumPy's generators would be 5 MB to import.
        parts = np.arange(1, rows + 1)[:, None] * np.sqrt(np.arange(width) + 0.618) % 1.0
        drawn: Matrix = (low + (high - low) * parts).astype(np.float32)
        return drawn


def _columns(features: tuple[Feature, ...]) -> list[list[int]]:
    """Days stand behind the matrix, the last date's first, as `RowReader` appends them."""
    ends = [0, *accumulate(len(feature.columns) for feature in features)]
    found = [list(range(start, end)) for start, end in pairwise(ends)]
    dates = [columns for feature, columns in zip(features, found, strict=True) if isinstance(feature, DateFeature)]
    for place, columns in enumerate(reversed(dates), start=ends[-1]):
        columns.append(place)
    return found


def _range(feature: Feature) -> tuple[float, float]:
    match feature:
        case BooleanFeature():
            return 0.0, 1.0
        case CategoryFeature():
            return MISSING, len(feature.categories) - 1.0
        case DateFeature() if not feature.strict and "days" not in feature.parts:
            return -LARGEST, LARGEST  # the model sees the calendar alone, so a later day is nothing new
        case DateFeature():
            low, high = map(datetime.fromisoformat, (feature.minimum, feature.maximum))
            return date_numbers(low, ["days"])[0], date_numbers(high, ["days"])[0]
        case _:
            return feature.minimum, feature.maximum


def warning_kind(feature: Feature) -> str:
    """Return which warning a value of the feature may cause."""
    return "unseen_category" if isinstance(feature, CategoryFeature) else "out_of_range"
