"""Split training rows into parts as the test rows were split from them."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from service.contract import Contract
from stages.schema import Split
from stages.scores.metrics import Codes

_FEWEST = 2

Fold = tuple[Codes, Codes]
"""The positions of the rows to fit on, and of those to predict."""


def folds(rows: pd.DataFrame, contract: Contract, split: Split, wanted: int, seed: int) -> Iterator[Fold]:
    """Yield up to `wanted` folds; none if the rows give fewer than two."""
    if split.method == "time":
        yield from _time_folds(rows[str(split.column)], wanted)
        return
    groups = _groups(rows, contract, split)
    labels = pd.factorize(rows[contract.target])[0] if contract.classes else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rare class may have fewer members than folds
        for held_out in _draw(groups, labels, wanted, seed, by_row=split.method == "group"):
            chosen = np.isin(groups, held_out)
            yield np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _groups(rows: pd.DataFrame, contract: Contract, split: Split) -> Codes:
    """Return each row's group, which stays together: that of its group or key, else of rows with equal features."""
    if split.column in rows:
        return pd.factorize(rows[split.column].astype("str"))[0]
    features = rows[[feature.name for feature in contract.features]]
    return pd.factorize(pd.util.hash_pandas_object(features, index=False))[0]


def _draw(groups: Codes, labels: Codes | None, wanted: int, seed: int, *, by_row: bool) -> Iterator[Codes]:
    """Draw the groups of each fold, stratified by each row's class or, faster, that of each group's first row."""
    first = np.unique(groups, return_index=True)[1]
    strata = np.zeros_like(groups) if labels is None else labels
    counted = strata if by_row else strata[first]
    # The second largest class needs a member for each fold, else a fold has only one class.
    members = len(first) if labels is None else int(np.sort(np.bincount(counted))[-2:][0])
    count = min(wanted, len(first), members)
    if count < _FEWEST:
        return
    options: dict[str, Any] = {"n_splits": count, "shuffle": True, "random_state": seed}
    if by_row:
        for _, held_out in StratifiedGroupKFold(**options).split(strata, strata, groups):
            yield groups[held_out]
    else:
        for _, held_out in StratifiedKFold(**options).split(first, counted):
            yield groups[first[held_out]]


def _time_folds(moments: pd.Series, wanted: int) -> Iterator[Fold]:
    """Cut the moments into `wanted` + 1 parts of about equal size, and predict each from those before it."""
    values = _comparable(moments)
    cuts = np.unique(np.sort(values)[[len(values) * part // (wanted + 1) for part in range(1, wanted + 1)]])
    parts = np.searchsorted(cuts, values, side="right")
    for part in range(1, len(cuts) + 1):
        fitted, held_out = np.flatnonzero(parts < part), np.flatnonzero(parts == part)
        if len(fitted) and len(held_out):
            yield fitted, held_out


def _comparable(moments: pd.Series) -> npt.NDArray[Any]:
    text = moments.dtype == object or isinstance(moments.dtype, pd.StringDtype)
    return (pd.to_datetime(moments, format="ISO8601", utc=True) if text else moments).to_numpy()
