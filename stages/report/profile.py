"""The profile of each column in train and test: missing values, statistics, a histogram or the top values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from stages.report.drawing import figures
from stages.stored import Table

_BARS = 30
_MOST_VALUES = 10
_TAIL = 0.005
"""A histogram leaves out this share at each end if that makes it three times narrower or more."""
_FEW = 12
"""Numbers with at most this many different values are shown value by value."""
WIDTH, HEIGHT = 300.0, 60.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Shares of training and test rows in bins of equal width, as paths of an SVG element of `WIDTH` x `HEIGHT`."""

    train: str
    test: str
    ends: tuple[str, str]
    peak: float
    """The share at the top."""
    left_out: float
    """The share of the values outside."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a column, and its shares of the known values of training and test rows."""

    name: str
    train: float
    test: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What the report shows of one column."""

    name: str
    kind: str
    missing: tuple[float, float]
    """Shares of training and test rows."""
    distinct: int
    """The number of different values of the training rows."""
    statistics: tuple[tuple[str, str, str], ...] = ()
    """Names, with the values of training and test rows."""
    histogram: Histogram | None = None
    values: tuple[Value, ...] = ()
    """The most frequent values; the last one may stand for all others."""


def profile_columns(train: Table, test: Table, names: Sequence[str]) -> Iterator[Profile]:
    """Yield the profile of each named column."""
    for name in names:
        yield profile(name, train[name], test[name])


def profile(name: str, train: pd.Series, test: pd.Series) -> Profile:
    """Return the profile of one column of both tables."""
    known = train.dropna(), test.dropna()
    missing = 1 - len(known[0]) / max(len(train), 1), 1 - len(known[1]) / max(len(test), 1)
    distinct = _count_distinct(known[0])
    if types.is_datetime64_any_dtype(train.dtype):
        moments = [each.to_numpy("datetime64[us]") for each in known]
        return Profile(name, "date", missing, distinct, _ends(moments), _histogram(*moments))
    if types.is_numeric_dtype(train.dtype) and not types.is_bool_dtype(train.dtype) and distinct > _FEW:
        numbers = [each.to_numpy(np.float64) for each in known]
        return Profile(name, "number", missing, distinct, _statistics(numbers), _histogram(*numbers))
    kind = "number" if types.is_numeric_dtype(train.dtype) and not types.is_bool_dtype(train.dtype) else "category"
    return Profile(name, kind, missing, distinct, values=tuple(_values(*known, sort=kind == "number")))


def _count_distinct(known: pd.Series) -> int:
    """Return the number of different values; of numbers and dates by sorting, as a hash table is much larger."""
    values = known.to_numpy() if isinstance(known.dtype, np.dtype) else None
    if values is None or values.dtype.kind not in "fiuM":
        return int(known.nunique())
    ascending = np.sort(values)
    return int(np.count_nonzero(ascending[1:] != ascending[:-1])) + 1 if len(ascending) else 0


def _statistics(sides: Sequence[Floats]) -> tuple[tuple[str, str, str], ...]:
    names = ("mean", "standard deviation", "minimum", "median", "maximum")
    columns = [
        [each.mean(), each.std(), each.min(), float(np.median(each)), each.max()] if len(each) else [np.nan] * 5
        for each in sides
    ]
    return tuple((name, figures(a), figures(b)) for name, a, b in zip(names, *columns, strict=True))


def _ends(sides: Sequence[npt.NDArray[np.datetime64]]) -> tuple[tuple[str, str, str], ...]:
    first, last = zip(
        *((_moment(each.min()), _moment(each.max())) if len(each) else ("", "") for each in sides), strict=True
    )
    return ("first", *first), ("last", *last)


def _moment(moment: np.datetime64) -> str:
    """Return date and time, without the parts at the end that are zero."""
    text = str(moment.astype("datetime64[s]"))
    return text.removesuffix("T00:00:00").removesuffix(":00").replace("T", " ")


def _histogram(train: npt.NDArray[np.generic], test: npt.NDArray[np.generic]) -> Histogram | None:
    dates = np.issubdtype(train.dtype, np.datetime64)
    sides = [
        each.astype(np.int64 if dates else np.float64, copy=False).astype(np.float64, copy=False)
        for each in (train, test)
    ]
    both = np.concatenate(sides)
    if not len(both) or both.min() == both.max():
        return None
    limits = _limits(both)
    counts = [np.histogram(each, bins=_BARS, range=limits)[0] / max(len(each), 1) for each in sides]
    peak = float(max(each.max() for each in counts))
    inside = np.count_nonzero((both >= limits[0]) & (both <= limits[1]))
    ends = [_moment(np.datetime64(int(each), "us"))[:10] if dates else figures(each) for each in limits]
    paths = [_path(each / (peak or 1)) for each in counts]
    return Histogram(paths[0], paths[1], (ends[0], ends[1]), peak, 1 - inside / len(both))


def _limits(both: Floats) -> tuple[float, float]:
    low, high = np.quantile(both, (_TAIL, 1 - _TAIL), overwrite_input=True)  # nothing depends on the order
    whole = float(both.min()), float(both.max())
    return (float(low), float(high)) if 0 < 3 * (high - low) < whole[1] - whole[0] else whole


def _path(heights: Floats) -> str:
    """Return the outline of the bars, from the lower left to the lower right corner."""
    step = WIDTH / len(heights)
    bars = "".join(f"V{HEIGHT * (1 - height):.1f}H{step * place:.0f}" for place, height in enumerate(heights, 1))
    return f"M0 {HEIGHT:.0f}{bars}V{HEIGHT:.0f}Z"


def _values(train: pd.Series, test: pd.Series, *, sort: bool) -> Iterator[Value]:
    shares = [each.value_counts(normalize=True, sort=True) for each in (train, test)]
    table = pd.concat(shares, axis=1, keys=["train", "test"]).fillna(0.0)
    table["text"] = [figures(float(each)) if sort else str(each) for each in table.index]
    table = table.sort_index() if sort else table.sort_values(["train", "test", "text"], ascending=[False, False, True])
    shown = table if len(table) <= _MOST_VALUES + 2 else table.head(_MOST_VALUES)
    for text, a, b in zip(shown["text"], shown["train"], shown["test"], strict=True):
        yield Value(text, float(a), float(b))
    if len(shown) < len(table):
        rest = table.iloc[len(shown) :]
        yield Value(f"{len(rest):,} others", float(rest["train"].sum()), float(rest["test"].sum()))
