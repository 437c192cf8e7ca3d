"""Predict training rows out of fold: fitted as the train stage fits, set apart as the test rows are."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.contract import Contract
from stages.estimators import fitting
from stages.params import Params
from stages.schema import Split
from stages.scores.gate import main_metric
from stages.scores.metrics import Codes, Outcome, main_score, outcome

MOST_ROWS = 50_000
DEFAULT = 5
"""Folds for a threshold that is chosen where `evaluate.folds` is off."""
_FEWEST = 2

Fold = tuple[Codes, Codes]
"""Places of the rows that are fitted, and of those that are predicted."""


def summarise(outcomes: Sequence[Outcome], task: str) -> dict[str, float]:
    """Return `cv_<main metric>`, the mean over the folds, `…_std`, their standard deviation, and `cv_folds`.

    Empty if fewer than two folds define the metric.
    """
    values = [value for value in map(main_score, outcomes) if value is not None]
    if len(values) < _FEWEST:
        return {}
    name = f"cv_{main_metric(task)}"
    return {name: float(np.mean(values)), f"{name}_std": float(np.std(values, ddof=1)), "cv_folds": len(values)}


def predict_out_of_fold(train: pd.DataFrame, contract: Contract, split: Split, params: Params) -> list[Outcome]:
    """Fit each fold's pipeline and predict its held-out rows; return an outcome for each.

    At most `MOST_ROWS` training rows, drawn by `random_state`, take part. Folds follow the split: by
    time each is later than all that is fitted for it (an expanding window), by group no group is
    on both sides, otherwise they are drawn at random, stratified by class. What `auto` stands
    for in the hyperparameters depends on the number of all training rows.
    """
    rows = _sample(train, params.random_state)
    wanted = params.evaluate.folds or DEFAULT
    outcomes = []
    for fitted, held_out in folds(rows, contract, split, wanted, params.random_state):
        if contract.classes and len(rows[contract.target].iloc[fitted].unique()) == 1:
            continue  # the earliest rows, say, may all be of one class
        pipeline = fitting.fit(rows.iloc[fitted], contract, params, size=len(train))
        with threadpool_limits(1):  # a sum over more threads depends on their number
            outcomes.append(_predict(pipeline, rows.iloc[held_out], contract))
    return outcomes


def _sample(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    if len(train) <= MOST_ROWS:
        return train
    places = np.random.default_rng(seed).choice(len(train), MOST_ROWS, replace=False)
    return train.iloc[np.sort(places)].reset_index(drop=True)


def folds(rows: pd.DataFrame, contract: Contract, split: Split, wanted: int, seed: int) -> Iterator[Fold]:
    """Give up to `wanted` folds; none where the rows allow fewer than two."""
    if split.method == "time":
        yield from _forward(rows[str(split.column)], wanted)
        return
    groups = _groups(rows, contract, split)
    labels = pd.factorize(rows[contract.target])[0] if contract.classes else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rare class may have fewer members than folds
        for held_out in _draw(groups, labels, wanted, seed, by_row=split.method == "group"):
            chosen = np.isin(groups, held_out)
            yield np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _groups(rows: pd.DataFrame, contract: Contract, split: Split) -> Codes:
    """Give what stays together: rows of one group or key, otherwise rows with equal features."""
    if split.column in rows:
        return pd.factorize(rows[split.column].astype("str"))[0]
    features = rows[[feature.name for feature in contract.features]]
    return pd.factorize(pd.util.hash_pandas_object(features, index=False))[0]


def _draw(groups: Codes, labels: Codes | None, wanted: int, seed: int, *, by_row: bool) -> Iterator[Codes]:
    """Draw the groups of each fold, stratified by the class of every row or, which is faster, of a group's first."""
    first = np.unique(groups, return_index=True)[1]
    strata = np.zeros_like(groups) if labels is None else labels
    counted = strata if by_row else strata[first]
    # In the second largest class as many members as folds: with fewer, folds would have one class alone.
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


def _forward(moments: pd.Series, wanted: int) -> Iterator[Fold]:
    """Cut the moments into `wanted` + 1 parts of about as many rows; equal moments stay together."""
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


def _predict(pipeline: Pipeline, rows: pd.DataFrame, contract: Contract) -> Outcome:
    features = rows[[feature.name for feature in contract.features]]
    y_true = rows[contract.target].to_numpy()
    if not contract.classes:
        return outcome(contract, y_true, np.asarray(pipeline.predict(features)))
    known = [contract.classes.index(label) for label in pipeline.classes_]
    probabilities = np.zeros((len(rows), len(contract.classes)))
    probabilities[:, known] = pipeline.predict_proba(features)
    return outcome(contract, y_true, probabilities, [contract.classes[place] for place in probabilities.argmax(axis=1)])
