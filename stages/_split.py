"""Which rows train and which test."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types
from sklearn.model_selection import train_test_split

from stages._errors import UserError
from stages._params import SplitParams

Mask = npt.NDArray[np.bool_]
_SHOWN_COLUMNS = 20


def split_rows(table: pd.DataFrame, target: pd.Series, params: SplitParams, *, stratify: bool, seed: int) -> Mask:
    """Mark the test rows, boolean of shape (rows,).

    random: a shuffled share, stratified by the target's classes if `stratify`. time: the
    latest share, rows of one moment together. group: whole groups, about the share.

    Raises UserError where the table does not allow the split.
    """
    if params.method == "time":
        return _by_time(_column(table, params.time_column, "split.time_column"), params.test_size)
    if params.method == "group":
        return _by_group(_column(table, params.group_column, "split.group_column"), params.test_size, seed)
    return _at_random(target, params.test_size, stratify=stratify, seed=seed)


def _at_random(target: pd.Series, test_size: float, *, stratify: bool, seed: int) -> Mask:
    classes, codes = target.nunique(), target.factorize(sort=True)[0]
    tested = int(np.ceil(test_size * len(target)))
    if stratify and min(tested, len(target) - tested) < classes:
        raise UserError(
            f"params.yaml: split.test_size: got {test_size:g}, which leaves {tested} of {len(target):,} rows to test; "
            f"{classes} classes need {classes} rows on both sides"
        )
    _, test = train_test_split(
        np.arange(len(target)), test_size=test_size, random_state=seed, stratify=codes if stratify else None
    )
    mask: Mask = np.zeros(len(target), dtype=bool)
    mask[test] = True
    return mask


def _column(table: pd.DataFrame, name: str | None, key: str) -> pd.Series:
    if name not in table.columns:
        names = ", ".join(table.columns[:_SHOWN_COLUMNS])
        more = ", …" if len(table.columns) > _SHOWN_COLUMNS else ""
        raise UserError(f"params.yaml: {key}: the table has no column {name!r}; it has {names}{more}")
    column = table[name]
    missing = int(column.isna().sum())
    if missing:
        raise UserError(f"params.yaml: {key}: {missing:,} rows have no value in {name!r}; fill them or split otherwise")
    return column


def _by_time(moments: pd.Series, test_size: float) -> Mask:
    values = moments.to_numpy() if _is_ordered(moments) else _parsed(moments)
    ordered = np.sort(values)
    cut = ordered[int(len(values) * (1 - test_size))]
    if cut == ordered[0]:  # the first moment has so many rows that they would all be tested on
        later = ordered[ordered > cut]
        if not len(later):
            raise UserError(
                f"params.yaml: split.time_column: {moments.name!r} is {ordered[0]!s} in every row; "
                "name another column or set split.method to random"
            )
        cut = later[0]
    mask: Mask = values >= cut
    return mask


def _is_ordered(moments: pd.Series) -> bool:
    return types.is_datetime64_any_dtype(moments.dtype) or types.is_numeric_dtype(moments.dtype)


def _parsed(moments: pd.Series) -> npt.NDArray[np.datetime64]:
    """Read text in ISO 8601; one with a zone counts in UTC."""
    parsed = pd.to_datetime(moments, format="ISO8601", errors="coerce", utc=True)
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        raise UserError(
            f"params.yaml: split.time_column: {moments.name!r} holds {moments.iloc[int(wrong.argmax())]!r}; "
            "expected dates in ISO 8601 (2024-12-31) or numbers in every row"
        )
    return parsed.dt.tz_localize(None).to_numpy()


def _by_group(groups: pd.Series, test_size: float, seed: int) -> Mask:
    """Take shuffled groups while each brings the test rows nearer to their share; at least one on either side."""
    codes, names = groups.astype("str").factorize(sort=True)
    if len(names) < 2:  # noqa: PLR2004
        raise UserError(
            f"params.yaml: split.group_column: {groups.name!r} has the one group {names[0]!r}; a split needs two"
        )
    sizes = np.bincount(codes)
    wanted, tested = test_size * len(codes), 0
    chosen = np.zeros(len(names), dtype=bool)
    for group in np.random.default_rng(seed).permutation(len(names)):
        if abs(tested + sizes[group] - wanted) < abs(tested - wanted):
            chosen[group] = True
            tested += int(sizes[group])
    if not chosen.any():
        chosen[sizes.argmin()] = True
    return np.asarray(chosen[codes])
