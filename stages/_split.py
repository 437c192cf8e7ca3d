"""Which rows train and which test."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from stages._errors import UserError
from stages._params import SplitParams

Mask = npt.NDArray[np.bool_]


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
    rows = np.arange(len(table))
    _, test = train_test_split(
        rows, test_size=params.test_size, random_state=seed, stratify=target.to_numpy() if stratify else None
    )
    return np.isin(rows, test)


def _column(table: pd.DataFrame, name: str | None, key: str) -> pd.Series:
    if name not in table.columns:
        raise UserError(f"params.yaml: {key}: the table has no column {name!r}; it has {', '.join(table.columns[:20])}")
    column = table[name]
    missing = int(column.isna().sum())
    if missing:
        raise UserError(f"params.yaml: {key}: {missing:,} rows have no value in {name!r}; fill them or split otherwise")
    return column


def _by_time(moments: pd.Series, test_size: float) -> Mask:
    if not (pd.api.types.is_datetime64_any_dtype(moments) or pd.api.types.is_numeric_dtype(moments)):
        raise UserError(
            f"params.yaml: split.time_column: {moments.name!r} holds text ({moments.iloc[0]!r}), expected dates or numbers"  # noqa: E501
        )
    values = moments.to_numpy()
    cut = np.sort(values)[int(len(values) * (1 - test_size))]
    mask: Mask = values >= cut
    if mask.all():
        raise UserError(f"params.yaml: split.time_column: {moments.name!r} has too few moments to split by time")
    return mask


def _by_group(groups: pd.Series, test_size: float, seed: int) -> Mask:
    if groups.nunique() < 2:  # noqa: PLR2004
        raise UserError(f"params.yaml: split.group_column: {groups.name!r} has one group alone; a split needs two")
    splitter = GroupShuffleSplit(n_splits=1, test_size=test_size, random_state=seed)
    rows = np.arange(len(groups))
    _, test = next(splitter.split(rows, groups=groups.astype(str).to_numpy()))
    return np.isin(rows, test)
