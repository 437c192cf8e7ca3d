"""The independent units of the test rows, which intervals are computed over."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from stages.schema import Split
from stages.scores.metrics import Codes, Floats

ENOUGH = 30
"""In a split by time, the unit is the coarsest of hour, day, week and month with at least this many units."""
FEWEST = 20
"""With fewer units there are no intervals."""
FEWEST_EFFECTIVE = 10
"""Nor with a smaller effective number (Kish) of units, when a few of them have most rows."""
_CALENDAR = {"month": "M", "week": "W", "day": "D", "hour": "h"}


@dataclass(frozen=True, slots=True)
class Units:
    """What counts as one independent observation."""

    name: str
    """row, key (of rows that share one), group, hour, day, week, month, or block (neighbouring numbers)."""
    codes: Codes
    """The unit of each row, from 0 on, in the order of time if there is one; shape (rows,)."""

    @property
    def count(self) -> int:
        """The number of units."""
        return int(self.codes.max()) + 1 if len(self.codes) else 0

    @property
    def too_few(self) -> str:
        """Return why there can be no interval over these units; empty if there can."""
        if self.count < FEWEST:
            return f"the test rows hold {self.count} independent {self.plural}; an interval needs {FEWEST}"
        sizes = np.bincount(self.codes).astype(np.float64)
        effective = sizes.sum() ** 2 / (sizes**2).sum()
        if effective < FEWEST_EFFECTIVE:
            return (
                f"a few of the {self.count} {self.plural} hold most test rows: they count as {effective:.1f} of "
                f"equal size, an interval needs {FEWEST_EFFECTIVE}"
            )
        return ""

    @property
    def plural(self) -> str:
        """The name for more than one."""
        return f"{self.name}s"

    @property
    def is_time(self) -> bool:
        """Whether the units follow one another in time."""
        return self.name not in ("row", "key", "group")


def units_of(split: Split, rows: pd.DataFrame) -> Units:
    """Return the units of `rows` as they were split.

    By group: the groups. By time: the coarsest of hour, day, week and month that gives `ENOUGH`
    units, or else the one with the most; `ENOUGH` blocks of neighbouring values if the time column
    holds numbers. Otherwise the rows, with those of one `split.key` together.
    """
    if split.column is None or split.column not in rows:
        return Units("row", np.arange(len(rows)))
    column = rows[split.column]
    if split.method != "time":
        codes = pd.factorize(column.astype("str"), sort=True)[0]
        unique = split.method == "random" and int(codes.max()) + 1 == len(codes)
        return Units("row" if unique else split.method.replace("random", "key"), codes)
    if types.is_numeric_dtype(column.dtype):
        return Units("block", _blocks(column.to_numpy(np.float64)))
    moments = pd.to_datetime(column, format="ISO8601", utc=True).dt.tz_convert(None)
    return _of_calendar(moments.to_numpy("datetime64[us]"))


def _of_calendar(moments: npt.NDArray[np.datetime64]) -> Units:
    found = [
        Units(name, np.unique(moments.astype(f"datetime64[{unit}]"), return_inverse=True)[1])
        for name, unit in _CALENDAR.items()
    ]
    return next((each for each in found if each.count >= ENOUGH), max(found, key=lambda each: each.count))


def _blocks(values: Floats) -> Codes:
    """Cut the sorted values into at most `ENOUGH` blocks of about equal size; equal values stay together."""
    distinct, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    blocks = np.minimum(middles * ENOUGH / len(values), ENOUGH - 1).astype(np.intp)
    return np.unique(blocks, return_inverse=True)[1][places] if len(distinct) else places


def lag_correlation(influence: Floats, units: Units) -> float | None:
    """Return the correlation of each unit's influence on a metric, shape (units,), with that of the next.

    None if the units have no order in time, are too few, or don't vary.
    """
    if not units.is_time or units.too_few:
        return None
    centred = influence - influence.mean()
    squares = float(centred @ centred)
    return float(centred[1:] @ centred[:-1] / squares) if squares > 0 else None
