"""The scikit-learn pipelines behind each value of `model`.

All have the steps `encode` (the contract's encoder, so that the pipeline takes a DataFrame), `derive`
if there are derived features, the estimator's preprocessing and `estimator`. `stages.export.graph`
writes every step after `encode` as ONNX.
"""

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from service.contract import Contract
from stages.errors import UserError
from stages.estimators import boosters, factories
from stages.estimators.averages import AveragedClassifier, AveragedRegressor
from stages.estimators.constraints import monotone
from stages.estimators.derive import DeriveFeatures
from stages.estimators.steps import ContractEncoder, FillBelow
from stages.features import graph as features
from stages.params.params import Params

MAX_ITERATIONS = 1000
"""Of logistic regression's solver."""
FULL_DEPTH_ROWS = 50_000
"""Training rows up to which a forest's trees have no depth limit; with more, files would have gigabytes."""
DEPTH_BEYOND = 12

_SHARED = {
    "n_estimators",
    "max_depth",
    "min_samples_leaf",
    "max_features",
    "learning_rate",
    "class_weight",
    "random_state",
}
_CLASSIFIERS = {
    "random_forest": RandomForestClassifier,
    "extra_trees": ExtraTreesClassifier,
    "hist_gradient_boosting": HistGradientBoostingClassifier,
    "gradient_boosting": GradientBoostingClassifier,
    "logistic_regression": LogisticRegression,
    "dummy": DummyClassifier,
}
_REGRESSORS = {
    "random_forest": RandomForestRegressor,
    "extra_trees": ExtraTreesRegressor,
    "hist_gradient_boosting": HistGradientBoostingRegressor,
    "gradient_boosting": GradientBoostingRegressor,
    "ridge": Ridge,
    "dummy": DummyRegressor,
}


def build(contract: Contract, params: Params, rows: int) -> Pipeline:
    """Return the unfitted pipeline for `params.model` and this number of training rows.

    Raises UserError if the model, `class_weight` or `monotone` does not fit the contract's task.
    """
    by_name: dict[str, Any] = _CLASSIFIERS if contract.classes else _REGRESSORS
    names = (*by_name, *boosters.NAMES)
    if ":" not in params.model and params.model not in names:
        raise UserError(f"params.yaml: model: {params.model!r} is not for {contract.task}; use {', '.join(names)}")
    if params.class_weight and not contract.classes:
        raise UserError(f"params.yaml: class_weight: {params.class_weight!r} is not for regression; use null")
    constraints = monotone(contract, params)
    inputs = _inputs(contract)
    if ":" in params.model:
        return Pipeline([*inputs, *factories.build(contract, params)])
    if params.model in boosters.NAMES:
        return Pipeline([*inputs, *boosters.build(contract, params)])
    estimator_class = by_name[params.model]
    accepted = estimator_class().get_params()
    wanted = _hyperparameters(params, contract, rows) | {"monotonic_cst": constraints}
    estimator = estimator_class(**{name: value for name, value in wanted.items() if name in accepted})
    return Pipeline([*inputs, *_preprocessing(params.model, contract), ("estimator", estimator)])


def average(pipelines: list[Pipeline], weights: list[float], contract: Contract) -> Pipeline:
    """Return the unfitted pipeline of the weighted average of pipelines that `build` returned."""
    inputs = _inputs(contract)
    members = [Pipeline(pipeline.steps[len(inputs) :]) for pipeline in pipelines]
    kind = AveragedClassifier if contract.classes else AveragedRegressor
    return Pipeline([*inputs, ("estimator", kind(members, weights))])


def _inputs(contract: Contract) -> list[tuple[str, Any]]:
    """Return the steps from a DataFrame to the estimator's matrix."""
    encode = ContractEncoder(contract.model_dump_json())
    if not contract.derived:
        return [("encode", encode)]
    return [("encode", encode), ("derive", DeriveFeatures(features.to_bytes(features.build(contract).model)))]


def _hyperparameters(params: Params, contract: Contract, rows: int) -> dict[str, Any]:
    """Return the values of every hyperparameter, by scikit-learn's names; `auto` is resolved."""
    auto: dict[str, Any] = {"max_features": "sqrt" if contract.classes else 1.0}
    own: dict[str, Any] = {}
    match params.model:
        case "gradient_boosting":
            auto |= {"max_depth": 3, "min_samples_leaf": 1}
        case "hist_gradient_boosting":
            auto |= {"max_depth": None, "min_samples_leaf": 20}
            own = {"max_iter": params.n_estimators, "early_stopping": False, "max_features": 1.0}
        case "logistic_regression":
            own = {"C": 1 / params.l2_penalty, "max_iter": MAX_ITERATIONS}
        case "ridge":
            own = {"alpha": params.l2_penalty}
        case _:
            depth = None if rows <= FULL_DEPTH_ROWS else DEPTH_BEYOND
            auto |= {"max_depth": depth, "min_samples_leaf": 2 if contract.classes else 1}
    shared = params.model_dump(include=_SHARED)
    return {name: auto.get(name) if value == "auto" else value for name, value in shared.items()} | own


def _preprocessing(model: str, contract: Contract) -> list[tuple[str, Any]]:
    if model in ("hist_gradient_boosting", "dummy"):
        return []  # these take missing values
    if model in ("logistic_regression", "ridge"):
        return [("expand", _one_hot_and_scale(contract))]
    return [("fill", FillBelow())]


def _one_hot_and_scale(contract: Contract) -> ColumnTransformer:
    """Return a transformer to one-hot categories and numbers of mean 0 and variance 1; float64.

    A missing number is replaced with the median of the training rows.
    """
    categories = boosters.category_columns(contract)
    numbers = [place for place in range(len(features.estimator_columns(contract))) if place not in categories]
    one_hot = OneHotEncoder(handle_unknown="ignore", dtype=np.float64)
    # In float32 a large offset, such as the seconds of a year, would round away the differences.
    double = FunctionTransformer(np.asarray, kw_args={"dtype": np.float64})
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    scale = Pipeline([("double", double), ("fill", fill), ("scale", StandardScaler())])
    steps = [("categories", one_hot, categories), ("numbers", scale, numbers)]
    return ColumnTransformer([step for step in steps if step[2]])
