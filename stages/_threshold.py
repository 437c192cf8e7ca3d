"""The decision threshold of a binary model, chosen on training rows that the model in question has not seen."""

from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.contract import Contract
from stages._metrics import Codes, Floats
from stages._schema import Split

DEFAULT = 0.5
MOST_ROWS = 50_000
FOLDS = 3
_DIGITS = 10

Flags = npt.NDArray[np.bool_]
Fold = tuple[Codes, Codes]


def choose(pipeline: Pipeline, train: pd.DataFrame, contract: Contract, split: Split, seed: int) -> float:
    """Give the threshold with the best balanced accuracy of out-of-fold probabilities.

    `pipeline` is cloned and fitted anew on parts of the training rows that are set apart as the
    test rows are: stratified, by group or by time. At most `MOST_ROWS` rows, drawn by `seed`,
    take part. 0.5 where the rows allow no such parts.
    """
    rows = _sample(train, split, seed)
    positive = (rows[contract.target] == contract.positive).to_numpy(dtype=bool)
    probabilities = np.full(len(rows), np.nan)
    for fitted, held_out in _folds(rows, positive, split, seed):
        if len(np.unique(positive[fitted])) == 1:
            continue  # the earliest rows, say, may all be of one class
        probabilities[held_out] = _probabilities(pipeline, rows, fitted, held_out, contract)
    known = ~np.isnan(probabilities)
    return best(probabilities[known], positive[known])


def _sample(train: pd.DataFrame, split: Split, seed: int) -> pd.DataFrame:
    drawn = train
    if len(train) > MOST_ROWS:
        places = np.random.default_rng(seed).choice(len(train), MOST_ROWS, replace=False)
        drawn = train.iloc[np.sort(places)]
    if split.method == "time":
        drawn = drawn.sort_values(str(split.column), kind="stable")
    return drawn.reset_index(drop=True)


def _folds(rows: pd.DataFrame, positive: Flags, split: Split, seed: int) -> Iterator[Fold]:
    folds = int(min(FOLDS, positive.sum(), (~positive).sum()))
    groups = None
    splitter: Any
    if split.method == "time":
        splitter = TimeSeriesSplit(FOLDS)
    elif split.method == "group":
        groups = pd.factorize(rows[str(split.column)])[0]
        folds = min(folds, int(groups.max()) + 1)
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed) if folds > 1 else None
    else:
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed) if folds > 1 else None
    if splitter and len(rows) > FOLDS:
        yield from splitter.split(rows, positive, groups)


def _probabilities(
    pipeline: Pipeline, rows: pd.DataFrame, fitted: Codes, held_out: Codes, contract: Contract
) -> Floats:
    names = [feature.name for feature in contract.features]
    fresh = clone(pipeline)
    # As in training: trees grow side by side, sums get one thread, whose number would otherwise change their last bits.
    with joblib.parallel_config(n_jobs=-1), threadpool_limits(1):
        fresh.fit(rows[names].iloc[fitted], rows[contract.target].iloc[fitted])
        found: Floats = fresh.predict_proba(rows[names].iloc[held_out])
    return found[:, list(fresh.classes_).index(contract.positive)]


def best(probabilities: Floats, positive: Flags) -> float:
    """Give the threshold above which to say positive for the best balanced accuracy, half way between two scores.

    Of equally good ones the nearest to 0.5; 0.5 if one class alone is there.
    """
    if positive.all() or not positive.any():
        return DEFAULT
    order = np.argsort(-probabilities, kind="stable")
    falling, hits = probabilities[order], positive[order]
    ends = np.flatnonzero(falling[1:] != falling[:-1])
    if not len(ends):
        return DEFAULT
    recalls = np.cumsum(hits)[ends] / hits.sum()
    false_alarms = np.cumsum(~hits)[ends] / (~hits).sum()
    gains = recalls - false_alarms
    candidates = (falling[ends] + falling[ends + 1]) / 2
    if gains.max() <= 0:
        return DEFAULT
    # The last bits of a difference of two shares are no reason to prefer one.
    equal = candidates[gains >= gains.max() - 1e-12]
    return round(float(equal[np.abs(equal - DEFAULT).argmin()]), _DIGITS)
