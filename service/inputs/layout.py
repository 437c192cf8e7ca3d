"""Where each feature stands in a matrix of numbers, and between which bounds.

Each feature has one number that is watched, for its range and for drift: the number, 1
or 0, the code of the category, or a date's days. The model's matrix holds them all but
the days, which stand behind it.
"""

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from service.cells import LARGEST
from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature
from service.encoding import MISSING, Matrix, date_numbers


class Outside(NamedTuple):
    """A value that training did not know, answered all the same."""

    instance: int
    feature: Feature
    kind: str
    """unseen_category or out_of_range."""


class Layout:
    """Places and bounds of a contract's numbers."""

    def __init__(self, contract: Contract) -> None:
        features = contract.features
        self.width = len(contract.columns)
        """Columns of the model's matrix."""
        dates = [feature for feature in features if isinstance(feature, DateFeature)]
        self.columns = _columns(features, self.width + len(dates))
        """Columns of each feature, the last being the watched one."""
        self.watched = np.array([columns[-1] for columns in self.columns], dtype=np.intp)
        """Column of each feature's watched number."""
        self._features = features
        self._categories, self._dates = (self._places(kind) for kind in (CategoryFeature, DateFeature))
        self._low, self._high = self._bounds(self.width + len(dates))
        self.strict = any(feature.strict for feature in features)

    def _bounds(self, width: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        finite = np.finfo(np.float32)
        low, high = np.full(width, finite.min, np.float32), np.full(width, finite.max, np.float32)
        for place, feature in zip(self.watched, self._features, strict=True):
            low[place], high[place] = _range(feature)
        return low, high

    def empty(self, rows: int) -> Matrix:
        """Make room for the numbers of so many rows."""
        return np.empty((rows, len(self._low)), dtype=np.float32)

    def array(self, values: list[list[Any]]) -> Matrix:
        """Make numbers of rows as Python has them; None becomes NaN."""
        return np.array(values, dtype=np.float32)

    def matrix(self, numbers: Matrix) -> Matrix:
        """Give the model's part of `numbers`."""
        return numbers if numbers.shape[1] == self.width else np.ascontiguousarray(numbers[:, : self.width])

    def draw(self, rows: int) -> Matrix:
        """Spread rows of the model's matrix evenly between the bounds of training, each column by itself."""
        width = self.width
        low = np.where(np.isin(np.arange(width), self.watched), self._low[:width], 0.0)
        high = np.where(np.isin(np.arange(width), self.watched), self._high[:width], 31.0)
        # Multiples of a root, another one for each column; NumPy's generators would be 5 MB to import.
        parts = np.arange(1, rows + 1)[:, None] * np.sqrt(np.arange(width) + 0.618) % 1.0
        drawn: Matrix = (low + (high - low) * parts).astype(np.float32)
        return drawn

    def outside(self, numbers: Matrix) -> bool:
        """Tell whether any number is out of its bounds, infinite ones among them."""
        return bool(np.count_nonzero(numbers < self._low) or np.count_nonzero(numbers > self._high))

    def list_outside(self, numbers: Matrix) -> list[Outside]:
        """List what `outside` tells of, row by row."""
        watched = numbers[:, self.watched]
        beyond = (watched < self._low[self.watched]) | (watched > self._high[self.watched])
        found = ((row, self._features[place]) for row, place in np.argwhere(beyond).tolist())
        return [Outside(row, feature, warning_kind(feature)) for row, feature in found]

    def fill(self, numbers: Matrix) -> tuple[Matrix, int, int]:
        """Turn infinite numbers, which stand for values left out, into missing ones.

        Also returns how many were left out, and how many of these have values that are texts.
        """
        left_out = np.isinf(numbers)
        if not left_out.any():
            return numbers, 0, 0
        filled = np.where(left_out, np.float32(np.nan), numbers)
        gone = left_out[:, self._categories]
        filled[:, self._categories] = np.where(gone, np.float32(MISSING), filled[:, self._categories])
        texts = np.count_nonzero(gone) + np.count_nonzero(left_out[:, self._dates])
        return filled, int(np.count_nonzero(left_out[:, self.watched])), int(texts)

    def _places(self, kind: type) -> npt.NDArray[np.intp]:
        pairs = zip(self.watched.tolist(), self._features, strict=True)
        return np.array([place for place, feature in pairs if isinstance(feature, kind)], dtype=np.intp)


def _columns(features: tuple[Feature, ...], end: int) -> list[list[int]]:
    """Days stand behind the matrix, the last date's first, as `RowReader` appends them."""
    found: list[list[int]] = []
    column = 0
    for feature in features:
        columns = list(range(column, column := column + len(feature.columns)))
        if isinstance(feature, DateFeature):
            columns.append(end := end - 1)
        found.append(columns)
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
