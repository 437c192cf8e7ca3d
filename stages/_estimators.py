"""The scikit-learn pipelines behind each value of `model`.

All have the same shape: `encode` (the contract's own encoder, so that a DataFrame goes
in), `fill` and what else the estimator needs, `estimator`. Every step after `encode`
converts to ONNX.
"""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
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
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from service.contract import CategoryFeature, Contract, Matrix
from stages._errors import UserError
from stages._params import Params

FAR_BELOW = -1e30
"""Stands for a missing number before trees: below every real one, so that one split sets it apart."""

_CLASSIFIERS = {
    "random_forest": RandomForestClassifier,
    "extra_trees": ExtraTreesClassifier,
    "hist_gradient_boosting": HistGradientBoostingClassifier,
    "gradient_boosting": GradientBoostingClassifier,
    "logistic_regression": LogisticRegression,
}
_REGRESSORS = {
    "random_forest": RandomForestRegressor,
    "extra_trees": ExtraTreesRegressor,
    "hist_gradient_boosting": HistGradientBoostingRegressor,
    "gradient_boosting": GradientBoostingRegressor,
    "ridge": Ridge,
}


class ContractEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The contract's encoder as a transformer: DataFrame in, float32 matrix out.

    Parameters
    ----------
    contract : str
        The contract as JSON, so that the pickled bytes depend on it alone.
    """

    def __init__(self, contract: str) -> None:
        self.contract = contract

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn names them
        """Learn nothing; the contract was decided by `prepare`."""
        return self

    def transform(self, X: pd.DataFrame) -> Matrix:
        """Encode the contract's columns of `X`, whatever else it holds."""
        return Contract.model_validate_json(self.contract).encode(X)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def build(contract: Contract, params: Params) -> Pipeline:
    """Put the unfitted pipeline for `params.model` together.

    Raises UserError if the model is not for the contract's task.
    """
    by_name: dict[str, Any] = _CLASSIFIERS if contract.classes else _REGRESSORS
    if params.model not in by_name:
        raise UserError(f"params.yaml: model: {params.model!r} is not for {contract.task}; use {', '.join(by_name)}")
    estimator_class = by_name[params.model]
    accepted = estimator_class().get_params()
    wanted = _hyperparameters(params)
    estimator = estimator_class(**{name: value for name, value in wanted.items() if name in accepted})
    encode = ContractEncoder(contract.model_dump_json())
    return Pipeline([("encode", encode), *_between(params.model, contract), ("estimator", estimator)])


def _hyperparameters(params: Params) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "n_estimators": params.n_estimators,
        "max_iter": params.n_estimators,
        "max_depth": params.max_depth,
        "min_samples_leaf": params.min_samples_leaf,
        "max_features": params.max_features,
        "learning_rate": params.learning_rate,
        "class_weight": params.class_weight,
        "random_state": params.random_state,
    }
    if params.model == "logistic_regression":
        wanted |= {"C": 1 / params.l2_penalty, "max_iter": 1000}
    if params.model == "ridge":
        wanted |= {"alpha": params.l2_penalty, "max_iter": None}
    if params.model == "hist_gradient_boosting":
        wanted |= {"early_stopping": False, "max_features": 1.0}
    return wanted


def _between(model: str, contract: Contract) -> list[tuple[str, Any]]:
    if model == "hist_gradient_boosting":
        return []  # handles missing values itself
    if model in ("logistic_regression", "ridge"):
        return [("expand", _one_hot_and_scale(contract))]
    return [("fill", SimpleImputer(strategy="constant", fill_value=FAR_BELOW, keep_empty_features=True))]


def _one_hot_and_scale(contract: Contract) -> ColumnTransformer:
    names = {feature.name for feature in contract.features if isinstance(feature, CategoryFeature)}
    categories = [index for index, column in enumerate(contract.columns) if column in names]
    numbers = [index for index, column in enumerate(contract.columns) if column not in names]
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    scale = Pipeline([("fill", fill), ("scale", StandardScaler())])
    steps = [("categories", one_hot, categories), ("numbers", scale, numbers)]
    return ColumnTransformer([step for step in steps if step[2]])
