"""Prediction intervals and sets that contain the truth with a wanted probability, by conformal prediction.

The model's file has the errors of out-of-fold predictions, sorted; a level picks one of them
(docs/how-to/coverage.md).
"""

import math
from bisect import bisect_left
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from service.contract import Label

_ROUNDING = 1e-9
_FEW_CELLS = 64


class LevelError(ValueError):
    """The level is too high for so few calibration rows. The message has the highest one."""


class Coverage(BaseModel):
    """Errors of out-of-fold predictions of training rows (Vovk 2015; Barber et al. 2021; docs/how-to/coverage.md).

    The error of a row is the distance of the value from the prediction (Lei et al. 2018), or 1 minus the probability
    of the true class (Sadinle, Lei and Wasserman 2019).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[float, ...]
    """The levels in metrics.json, each between 0 and 1. Feedback counts the coverage of the first."""
    rows: int
    """How many errors there were."""
    units: int
    """How many independent units they come from: groups, or rows."""
    ranks: tuple[int, ...]
    """Which of the sorted errors are in `errors`: 1 is the smallest, the last one is `rows`."""
    errors: tuple[float, ...]

    @property
    def highest(self) -> float:
        """The highest level that so many units can promise."""
        return math.floor(self.units / (self.units + 1) * 1e6) / 1e6

    @property
    def limit(self) -> str:
        """The levels that so many units can promise."""
        return f"at most {self.highest}"

    def bound(self, level: float) -> float:
        """Return the error that new rows stay below with the probability `level`, between 0 and 1.

        Raises LevelError if there are too few units.
        """
        rank = math.ceil(level * (self.units + 1) * self.rows / self.units - _ROUNDING)
        if rank > self.rows:
            raise LevelError(f"{self.units:,} calibration units allow {self.limit}")
        return self.errors[bisect_left(self.ranks, rank)]


def intervals(values: npt.NDArray[np.floating[Any]], bound: float) -> list[list[float]]:
    """Return [low, high] of each value, shape (rows,)."""
    return [[value - bound, value + bound] for value in values.tolist()]


def find_inside(probabilities: npt.NDArray[np.floating[Any]], bound: float) -> npt.NDArray[np.bool_]:
    """Return which classes have a probability of at least 1 - `bound`, shape (rows, classes)."""
    inside: npt.NDArray[np.bool_] = probabilities >= np.float64(1 - bound)
    return inside


def sets(probabilities: npt.NDArray[np.floating[Any]], classes: tuple[Label, ...], bound: float) -> list[list[Label]]:
    """Return the classes that `find_inside` finds in each row."""
    if probabilities.size > _FEW_CELLS:
        return [list(compress(classes, row)) for row in find_inside(probabilities, bound).tolist()]
    least = 1 - bound  # for one row, NumPy takes ten times as long
    return [[label for label, each in zip(classes, row) if each >= least] for row in probabilities.tolist()]  # noqa: B905
