"""Fit a pipeline, for the train stage and for each fold of the training rows."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.contract import Contract
from stages.errors import UserError
from stages.estimators import boosters, factories, kinds
from stages.params.choice import AveragedParams
from stages.params.params import Params
from stages.progress import watching

FAR_FROM_ZERO = 100.0
"""A target whose mean is more than this many standard deviations from zero is standardised."""
TINY = 1e-5
"""So is one with a smaller standard deviation: scikit-learn's trees stop splitting at a variance of 2e-16."""
HUGE = 1e15
"""So is one with a larger standard deviation: XGBoost's squares overflow float32, and it learns nothing."""
_BINNED_ROWS = 200_000
"""hist_gradient_boosting draws this many rows to find its bins."""
BACKEND: ContextVar[Callable[[], contextlib.AbstractContextManager[Any]]] = ContextVar(
    "BACKEND", default=contextlib.nullcontext
)
"""Sets joblib's backend for a fit, if trees are fitted by others than the threads of this process."""
_FEW = 100
"""If there are more rows, this few known values may all be missing in the drawn rows."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `fit` needs."""

    pipeline: Pipeline
    X: pd.DataFrame
    y: pd.Series
    options: dict[str, Any]
    """Arguments of the estimator's `fit`."""


def prepare(rows: pd.DataFrame, contract: Contract, params: Params, size: int | None = None) -> Prepared:
    """Return the unfitted pipeline and its arguments; `size` as in `fit`."""
    X, y = rows[[feature.name for feature in contract.features]], rows[contract.target]
    several = [each for each, _ in params.members] if isinstance(params, AveragedParams) else [params]
    pipelines = [kinds.build(contract, each, size or len(rows)) for each in several]
    each_options = [
        boosters.fit_options(contract, each) | _weight(pipeline, rows, contract, each)
        for pipeline, each in zip(pipelines, several, strict=True)
    ]
    if "hist_gradient_boosting" in [each.model for each in several] and not contract.derived:
        X = _fill_empty_columns(X)  # with derived features, the step `derive` does it
    pipeline, options = pipelines[0], each_options[0]
    if isinstance(params, AveragedParams):
        pipeline = kinds.average(pipelines, [weight for _, weight in params.members], contract)
        options = {"options": each_options}
    if not contract.classes:
        _standardise_target(pipeline, y)
    return Prepared(pipeline, X, y, options)


def fit(rows: pd.DataFrame, contract: Contract, params: Params, size: int | None = None) -> Pipeline:
    """Fit `params.model` on `rows`; the bytes of the model don't depend on the number of cores.

    `size` is the number of rows from which `auto` is resolved; None means the number of `rows`.
    """
    given = prepare(rows, contract, params, size)
    with controlled(), BACKEND.get()(), _showing_rounds(given, params):
        try:
            given.pipeline.fit(given.X, given.y, **{f"estimator__{name}": each for name, each in given.options.items()})
        except Exception as error:
            if ":" not in params.model:
                raise
            raise factories.explain_error(params.model, "can't be fitted", error) from error
    factories.check_fitted(given.pipeline, contract, params.model)
    return given.pipeline


def _showing_rounds(given: Prepared, params: Params) -> contextlib.AbstractContextManager[None]:
    """Show how many rounds are done, if the library tells while it fits."""
    rounds = list[int]()
    if params.model == "lightgbm":
        given.options["callbacks"] = [lambda state: rounds.append(state.iteration)]
    elif params.model == "hist_gradient_boosting":
        return watching(lambda: _count_predictors(given.pipeline["estimator"]), params.n_estimators, "round")
    else:
        return contextlib.nullcontext()
    return watching(lambda: len(rounds), params.n_estimators, "round")


def _count_predictors(estimator: Any) -> int:
    """Return how many rounds scikit-learn's booster has done; it keeps the trees in this attribute as it fits."""
    return len(getattr(getattr(estimator, "regressor_", estimator), "_predictors", ()))


@contextlib.contextmanager
def controlled() -> Iterator[None]:
    """Fit in the block with the same result everywhere, and without warnings that mean nothing here."""
    # A sum over BLAS's threads depends on their number, and OpenMP's threads cost more than they save
    # (docs/explanation/decisions.md), so both get one. joblib's threads fit different trees.
    # scikit-learn looks for infinities by a sum, which overflows where numbers near the ends of float32 meet.
    with (
        threadpool_limits(1),
        joblib.parallel_config("threading", n_jobs=-1),
        np.errstate(over="ignore", invalid="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)  # `has_not_converged` reports it
        yield


def row_weights(rows: pd.DataFrame, params: Params) -> npt.NDArray[np.float64]:
    """Return the rows' weights, scaled to a mean of 1, so that regularisation doesn't depend on their unit."""
    if not params.data.weight:
        return np.ones(len(rows))
    weights = rows[params.data.weight].to_numpy(np.float64)
    return np.asarray(weights / weights.mean())


def _weight(pipeline: Pipeline, rows: pd.DataFrame, contract: Contract, params: Params) -> dict[str, Any]:
    """Return `sample_weight` if rows have weights, or for `class_weight` of an estimator that has no such parameter.

    Raises UserError if the user's estimator takes none.
    """
    estimator = pipeline["estimator"]
    by_class = params.class_weight and params.model != "dummy" and "class_weight" not in estimator.get_params()
    if not (params.data.weight or by_class):
        return {}
    if ":" in params.model and not has_fit_parameter(estimator, "sample_weight"):
        raise UserError(f"params.yaml: data.weight: the fit of {params.model} has no sample_weight; use null")
    weights = row_weights(rows, params)
    return {
        "sample_weight": weights * compute_sample_weight("balanced", rows[contract.target]) if by_class else weights
    }


def _standardise_target(pipeline: Pipeline, y: pd.Series) -> None:
    """Standardise the target in the pipeline if it is far from zero, tiny or huge.

    The squares of a large target lose its small differences, and float32 rounds them away. A tiny
    or huge target is scaled but not shifted, so that values near zero stay exact.
    """
    far = bool(abs(y.mean()) > FAR_FROM_ZERO * y.std())
    if far or not TINY <= y.std() <= HUGE:
        scaler = StandardScaler(with_mean=far)
        pipeline.steps[-1] = ("estimator", TransformedTargetRegressor(pipeline["estimator"], transformer=scaler))


def _fill_empty_columns(X: pd.DataFrame) -> pd.DataFrame:
    """Return `X` with zeros in columns without a value, on which scikit-learn's binning fails.

    A model learns nothing from them. A column may start after the rows of a fold.
    """
    known = X.select_dtypes(["number", "datetime"]).count()
    empty = known.index[known <= (_FEW if len(X) > _BINNED_ROWS else 0)]
    return X.assign(**{name: np.zeros(len(X), X[name].to_numpy().dtype) for name in empty}) if len(empty) else X


def has_not_converged(pipeline: Pipeline) -> bool:
    """Return whether logistic regression used up its iterations."""
    estimator: Any = pipeline["estimator"]
    estimators = [each["estimator"] for each in getattr(estimator, "members_", [pipeline])]
    linear = [each for each in estimators if isinstance(each, LogisticRegression)]
    return any(bool(max(each.n_iter_) >= kinds.MAX_ITERATIONS) for each in linear)
