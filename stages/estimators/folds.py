"""Predict training rows out of fold, with the train stage's fit and the folds split as the test rows are."""

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
from stages.params.params import Params
from stages.schema import Split
from stages.scores.gate import main_metric
from stages.scores.metrics import Codes, Outcome, main_score, outcome

MOST_ROWS = 50_000
DEFAULT = 5
"""The number of folds to choose a threshold if `evaluate.folds` is 0."""
_FEWEST = 2

Fold = tuple[Codes, Codes]
"""The positions of the rows to fit on, and of those to predict."""


def summarise(outcomes: Sequence[Outcome], task: str) -> dict[str, float]:
    """Return `mean_and_deviation` of the main metric."""
    return mean_and_deviation(
        [np.nan if (value := main_score(each)) is None else value for each in outcomes], main_metric(task)
    )


def mean_and_deviation(scores: Sequence[float], metric: str) -> dict[str, float]:
    """Return `cv_<metric>`, the mean over the folds, `…_std`, their standard deviation, and `cv_folds`.

    NaN is a fold that does not define the metric. Empty if fewer than two folds define it.
    """
    values = [score for score in scores if not np.isnan(score)]
    if len(values) < _FEWEST:
        return {}
    name = f"cv_{metric}"
    return {name: float(np.mean(values)), f"{name}_std": float(np.std(values, ddof=1)), "cv_folds": len(values)}


def predict_out_of_fold(train: pd.DataFrame, contract: Contract, split: Split, params: Params) -> list[Outcome]:
    """Fit each fold's pipeline and predict its held-out rows; return an outcome for each.

    `auto` in the hyperparameters is resolved from the number of all training rows.
    """
    rows, drawn = draw_folds(train, contract, split, params)
    return [predict_fold(rows, fold, contract, params, len(train)) for fold in drawn]


def draw_folds(
    train: pd.DataFrame, contract: Contract, split: Split, params: Params, wanted: int | None = None
) -> tuple[pd.DataFrame, list[Fold]]:
    """Return at most `MOST_ROWS` training rows, drawn with `random_state`, and their folds.

    Folds follow the split: by time each is later than all rows fitted for it (an expanding window), by group
    no group is on both sides, otherwise they are drawn at random, stratified by class. `wanted` is their number,
    None means `evaluate.folds`.
    """
    rows = _sample(train, params.random_state)
    drawn = folds(rows, contract, split, wanted or params.evaluate.folds or DEFAULT, params.random_state)
    target = rows[contract.target]
    # A fold whose fitted rows have one class, such as the earliest rows, can't be fitted.
    return rows, [fold for fold in drawn if not contract.classes or len(target.iloc[fold[0]].unique()) > 1]


def predict_fold(rows: pd.DataFrame, fold: Fold, contract: Contract, params: Params, size: int) -> Outcome:
    """Fit `params.model` on one side of the fold, and predict the other; `size` as in `fitting.fit`."""
    fitted, held_out = fold
    pipeline = fitting.fit(rows.iloc[fitted], contract, params, size=size)
    with threadpool_limits(1):  # a sum over more threads depends on their number
        return _predict(pipeline, rows.iloc[held_out], contract)


def _sample(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    if len(train) <= MOST_ROWS:
        return train
    places = np.random.default_rng(seed).choice(len(train), MOST_ROWS, replace=False)
    return train.iloc[np.sort(places)].reset_index(drop=True)


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


def _predict(pipeline: Pipeline, rows: pd.DataFrame, contract: Contract) -> Outcome:
    features = rows[[feature.name for feature in contract.features]]
    y_true = rows[contract.target].to_numpy()
    if not contract.classes:
        return outcome(contract, y_true, np.asarray(pipeline.predict(features)))
    known = [contract.classes.index(label) for label in pipeline.classes_]
    probabilities = np.zeros((len(rows), len(contract.classes)))
    probabilities[:, known] = pipeline.predict_proba(features)
    return outcome(contract, y_true, probabilities, [contract.classes[place] for place in probabilities.argmax(axis=1)])
