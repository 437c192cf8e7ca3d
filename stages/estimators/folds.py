"""Predict training rows out of fold, with the train stage's fit and the folds split as the test rows are."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.contract import Contract
from stages.estimators import fitting, stopping
from stages.estimators.splitting import Fold, folds
from stages.params.params import Params
from stages.schema import Split
from stages.scores.gate import main_metric
from stages.scores.metrics import Codes, Floats, Outcome, main_score, outcome

MOST_ROWS = 50_000
DEFAULT = 5
"""The number of folds to choose a threshold if `evaluate.folds` is 0."""
_FEWEST = 2


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


def draw_folds(
    train: pd.DataFrame, contract: Contract, split: Split, params: Params, wanted: int | None = None
) -> tuple[pd.DataFrame, list[Fold]]:
    """Return at most `MOST_ROWS` training rows, drawn with `random_state`, and their folds.

    Folds follow the split: by time each is later than all rows fitted for it (an expanding window), by group
    no group is on both sides, otherwise they are drawn at random, stratified by class. `wanted` is their number,
    None means `evaluate.folds`.
    """
    rows = train.iloc[draw_places(len(train), params.random_state)].reset_index(drop=True)
    drawn = folds(rows, contract, split, wanted or params.evaluate.folds or DEFAULT, params.random_state)
    target = rows[contract.target]
    # A fold whose fitted rows have one class, such as the earliest rows, can't be fitted.
    return rows, [fold for fold in drawn if not contract.classes or len(target.iloc[fold[0]].unique()) > 1]


def draw_places(rows: int, seed: int) -> Codes:
    """Return the places of at most `MOST_ROWS` training rows, ascending."""
    if rows <= MOST_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))


def predict_fold(  # noqa: PLR0913  # Schema would join two, but not all callers have it
    rows: pd.DataFrame, fold: Fold, contract: Contract, split: Split, params: Params, *, size: int
) -> Outcome:
    """Return what `score_fold` predicts, with the true values."""
    return to_outcome(contract, rows.iloc[fold[1]], score_fold(rows, fold, contract, split, params, size=size))


def score_fold(  # noqa: PLR0913  # as above
    rows: pd.DataFrame, fold: Fold, contract: Contract, split: Split, params: Params, *, size: int
) -> Floats:
    """Fit `params.model` on one side of the fold, and predict the other; `size` as in `fitting.fit`.

    Returns probabilities of shape (rows, classes), or values of shape (rows,).
    """
    return predict_held_out(fit_fold(rows, fold, contract, split, params, size=size), rows.iloc[fold[1]], contract)


def fit_fold(  # noqa: PLR0913  # as above
    rows: pd.DataFrame, fold: Fold, contract: Contract, split: Split, params: Params, *, size: int
) -> Pipeline:
    """Fit `params.model` on one side of the fold; `size` as in `fitting.fit`."""
    stopped = stopping.limit_rounds(rows.iloc[fold[0]], contract, split, params, size)
    return fitting.fit(rows.iloc[fold[0]], contract, stopped, size=size)


def predict_held_out(pipeline: Pipeline, rows: pd.DataFrame, contract: Contract) -> Floats:
    """Return probabilities of shape (rows, classes), or values of shape (rows,)."""
    with threadpool_limits(1):  # a sum over more threads depends on their number
        return _score(pipeline, rows, contract)


def _score(pipeline: Pipeline, rows: pd.DataFrame, contract: Contract) -> Floats:
    features = rows[[feature.name for feature in contract.features]]
    if not contract.classes:
        return np.asarray(pipeline.predict(features), np.float64)
    known = [contract.classes.index(label) for label in pipeline.classes_]
    probabilities = np.zeros((len(rows), len(contract.classes)))
    probabilities[:, known] = pipeline.predict_proba(features)
    return probabilities


def to_outcome(contract: Contract, rows: pd.DataFrame, scores: Floats) -> Outcome:
    """Return the scores of `rows` with the true values; the label is the most probable class."""
    labels = [contract.classes[place] for place in scores.argmax(axis=1)] if contract.classes else []
    return outcome(contract, rows[contract.target].to_numpy(), scores, labels)
