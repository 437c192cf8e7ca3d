"""The independent units of the test rows, which intervals are computed over."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from stages.schema import Split
from stages.scores.metrics import Codes, Floats
from stages.stored import Table

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


def compress(codes: Codes) -> Codes:
    """Number the codes that occur from 0 on, in the same order."""
    return (np.cumsum(np.bincount(codes) > 0) - 1)[codes]


def units_of(split: Split, rows: Table) -> Units:
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
    best = Units("", np.empty(0, np.intp))
    for name, unit in _CALENDAR.items():
        found = Units(name, cut_periods(moments, unit)[0])
        if found.count > best.count:
            best = found
        if best.count >= ENOUGH:
            break
    return best


def cut_periods(moments: npt.NDArray[np.datetime64], unit: str) -> tuple[Codes, npt.NDArray[np.datetime64]]:
    """Return the place of each moment's month, week, day or hour among those that occur, and these."""
    places, periods = pd.factorize(moments.astype(f"datetime64[{unit}]").astype(np.int64), sort=True)
    return places, periods.view(f"datetime64[{unit}]")


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
