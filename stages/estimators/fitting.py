"""How a pipeline is fitted, for the train stage and for each fold of the training rows."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.contract import Contract
from stages.estimators import kinds, progress
from stages.params import Params

FAR_FROM_ZERO = 100.0
"""A target whose mean is so many standard deviations from zero is fitted standardised."""
TINY = 1e-5
"""So is one of a smaller standard deviation: scikit-learn's trees stop splitting at a variance of 2e-16."""
_FORESTS = ("random_forest", "extra_trees")
_BINNED_ROWS = 200_000
"""Rows that hist_gradient_boosting draws to find its bins."""
_FEW = 100
"""Of more rows than that, so few known values may all be left out of the draw."""


def fit(
    rows: pd.DataFrame,
    contract: Contract,
    params: Params,
    count: progress.Counter | None = None,
    size: int | None = None,
) -> Pipeline:
    """Fit `params.model` on `rows`; the same bytes whatever the number of cores.

    Parameters
    ----------
    count
        Counts the finished trees of a forest or gradient boosting.
    size
        The number of rows that decides what `auto` stands for; None for the number in `rows`.
    """
    count = count or progress.Counter()
    pipeline = kinds.build(contract, params, size or len(rows))
    X, y = rows[[feature.name for feature in contract.features]], rows[contract.target]
    if params.model == "hist_gradient_boosting":
        X = _without_empty_columns(X)
    if params.model in _FORESTS:
        pipeline.set_params(estimator__n_jobs=-1)
    far = not contract.classes and abs(y.mean()) > FAR_FROM_ZERO * y.std()
    if far or (not contract.classes and y.std() < TINY):
        # Squares of a large target drown its differences, and float32 rounds them away. One that is
        # small is not shifted: what is near zero stays as exact as the rest.
        scaler = StandardScaler(with_mean=far)
        pipeline.steps[-1] = ("estimator", TransformedTargetRegressor(pipeline["estimator"], transformer=scaler))
    # A sum over threads depends on their number, so BLAS and OpenMP get one; trees are fitted apart.
    # scikit-learn looks for infinities by a sum, which overflows where numbers near the ends of float32 meet.
    with (
        threadpool_limits(1),
        progress.counted(count),
        np.errstate(over="ignore", invalid="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `unconverged`
        pipeline.fit(X, y, **_fit_params(y, params, count))
    if params.model in _FORESTS:
        for estimator in (_estimator(pipeline), pipeline["estimator"]):
            estimator.set_params(**{name: None for name in estimator.get_params() if name.endswith("n_jobs")})
    return pipeline


def _without_empty_columns(X: pd.DataFrame) -> pd.DataFrame:
    """Return `X` with zeros in numbers and dates of no known value, which scikit-learn's binning fails on.

    Nothing can be learnt from either: a column may begin after the rows of a fold.
    """
    known = X.select_dtypes(["number", "datetime"]).count()
    empty = known.index[known <= (_FEW if len(X) > _BINNED_ROWS else 0)]
    if len(empty):
        X = X.copy()
    for name in empty:
        X[name] = np.zeros(len(X), X[name].to_numpy().dtype)
    return X


def _fit_params(y: pd.Series, params: Params, count: progress.Counter) -> dict[str, Any]:
    if params.model != "gradient_boosting":
        return {}
    weights = compute_sample_weight("balanced", y) if params.class_weight else None  # it knows no class_weight
    return {"estimator__sample_weight": weights, "estimator__monitor": count.add}


def _estimator(pipeline: Pipeline) -> Any:
    """Give the fitted estimator itself, without what standardises its target."""
    return getattr(pipeline["estimator"], "regressor_", pipeline["estimator"])


def unconverged(pipeline: Pipeline) -> bool:
    """Tell whether logistic regression used up its iterations."""
    estimator = _estimator(pipeline)
    return isinstance(estimator, LogisticRegression) and bool(max(estimator.n_iter_) >= kinds.MAX_ITERATIONS)
