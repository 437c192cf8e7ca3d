"""How a pipeline is fitted, for the train stage and for each fold of the training rows."""

import warnings
from typing import Any

import joblib
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
from stages.estimators import kinds
from stages.params import Params

FAR_FROM_ZERO = 100.0
"""A target whose mean is so many standard deviations from zero is fitted standardised."""
TINY = 1e-5
"""So is one of a smaller standard deviation: scikit-learn's trees stop splitting at a variance of 2e-16."""
_BINNED_ROWS = 200_000
"""Rows that hist_gradient_boosting draws to find its bins."""
_FEW = 100
"""Of more rows than that, so few known values may all be left out of the draw."""


def fit(rows: pd.DataFrame, contract: Contract, params: Params, size: int | None = None) -> Pipeline:
    """Fit `params.model` on `rows`; the same bytes whatever the number of cores.

    `size` is the number of rows that decides what `auto` means; None means the number of `rows`.
    """
    pipeline = kinds.build(contract, params, size or len(rows))
    X, y = rows[[feature.name for feature in contract.features]], rows[contract.target]
    if params.model == "hist_gradient_boosting":
        X = _fill_empty_columns(X)
    if not contract.classes:
        _standardise_target(pipeline, y)
    weights = {}
    if params.model == "gradient_boosting" and params.class_weight:  # it knows no class_weight
        weights["estimator__sample_weight"] = compute_sample_weight("balanced", y)
    # A sum over BLAS's threads depends on their number, and OpenMP's threads cost more than they save
    # (docs/decisions.md), so both get one. joblib's threads fit different trees.
    # scikit-learn looks for infinities by a sum, which overflows where numbers near the ends of float32 meet.
    with (
        threadpool_limits(1),
        joblib.parallel_config("threading", n_jobs=-1),
        np.errstate(over="ignore", invalid="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)  # `has_not_converged` tells it
        pipeline.fit(X, y, **weights)
    return pipeline


def _standardise_target(pipeline: Pipeline, y: pd.Series) -> None:
    """Let a target far from zero, or a tiny one, be fitted standardised.

    Squares of a large target drown its differences, and float32 rounds them away. A tiny one is
    not shifted: what is near zero stays as exact as the rest.
    """
    far = bool(abs(y.mean()) > FAR_FROM_ZERO * y.std())
    if far or y.std() < TINY:
        scaler = StandardScaler(with_mean=far)
        pipeline.steps[-1] = ("estimator", TransformedTargetRegressor(pipeline["estimator"], transformer=scaler))


def _fill_empty_columns(X: pd.DataFrame) -> pd.DataFrame:
    """Return `X` with zeros in numbers and dates of no known value, which scikit-learn's binning fails on.

    A model learns from neither. A column may begin after the rows of a fold.
    """
    known = X.select_dtypes(["number", "datetime"]).count()
    empty = known.index[known <= (_FEW if len(X) > _BINNED_ROWS else 0)]
    return X.assign(**{name: np.zeros(len(X), X[name].to_numpy().dtype) for name in empty}) if len(empty) else X


def has_not_converged(pipeline: Pipeline) -> bool:
    """Return whether logistic regression used up its iterations."""
    estimator: Any = pipeline["estimator"]
    return isinstance(estimator, LogisticRegression) and bool(max(estimator.n_iter_) >= kinds.MAX_ITERATIONS)
