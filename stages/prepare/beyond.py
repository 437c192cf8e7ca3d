"""Columns of a split by time whose later values training never saw: decided from feature values alone."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from service.contract import DateFeature
from service.encoding import DatePart

MOST = 0.75
"""A column is left out if more than this share of its later values lies beyond what training knew."""
MANY = 0.25
"""A part of a date is left out if more than this share of its later values never occurred in training."""
_RUNNING: DatePart = "days"


def reason(train: pd.Series, later: pd.Series) -> str | None:
    """Say why a number or category is of no use for the rows after the cut; None if it may be of use.

    Dates are judged part by part, by `lasting_parts`.
    """
    known = later.dropna()
    if types.is_datetime64_any_dtype(train.dtype) or types.is_bool_dtype(train.dtype):
        return None
    if not types.is_numeric_dtype(train.dtype):
        unseen = _share(~known.isin(train.dropna().unique()).to_numpy())
        return f"{unseen:.0%} of the later values are categories that training never saw" if unseen > MOST else None
    low, high = train.min(), train.max()
    beyond = _share(((known < low) | (known > high)).to_numpy(dtype=bool))
    return f"{beyond:.0%} of the later values lie beyond training's {low:g} to {high:g}" if beyond > MOST else None


def lasting_parts(probe: DateFeature, train: pd.Series, later: pd.Series) -> tuple[DatePart, ...]:
    """Return the parts of `probe` that are of use for later dates.

    The running day is if it stays in range, as for numbers; month, day, weekday and hour are if
    their later values occurred in training.
    """
    before, after = (probe.encode(dates.dropna().to_numpy("datetime64[us]")) for dates in (train, later))
    columns = zip(probe.parts, before.T, after.T, strict=True)
    return tuple(part for part, known, new in columns if _lasts(part, known, new))


def _lasts(part: DatePart, known: npt.NDArray[np.float32], new: npt.NDArray[np.float32]) -> bool:
    if part == _RUNNING:
        return _share((new < known.min()) | (new > known.max())) <= MOST
    return _share(~np.isin(new, known)) <= MANY


def _share(mask: npt.NDArray[np.bool_]) -> float:
    return float(mask.mean()) if mask.size else 0.0
