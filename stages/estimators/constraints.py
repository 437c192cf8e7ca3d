"""Monotone constraints: predictions that only rise, or only fall, with a feature."""

from service.contract import Contract
from stages.errors import UserError
from stages.features.graph import estimator_columns
from stages.params.params import Params

MODELS = ("hist_gradient_boosting", "lightgbm", "xgboost", "catboost", "random_forest", "extra_trees")
"""The models that can keep to constraints."""


def monotone(contract: Contract, params: Params) -> list[int] | None:
    """Return 1, 0 or -1 for each column of the estimator's matrix; None if `params.monotone` is empty.

    In `params.yaml`, 1 means that the probability of the positive class, or the value, never falls as the feature
    rises. scikit-learn and LightGBM mean the second class, so the signs are turned where the first is positive.

    Raises UserError for a model, target or feature that can't have a constraint.
    """
    if not params.monotone:
        return None
    if params.model not in MODELS:
        raise _refuse(f"is not for {params.model}; use {', '.join(MODELS)}, or leave it empty")
    if contract.task == "multiclass":
        raise _refuse(f"is for two classes or a regression, this target has {len(contract.classes)} classes")
    columns = {column.name: column for column in estimator_columns(contract)}
    for name in params.monotone:
        if name not in columns:
            raise _refuse(_explain_unknown(name, contract, list(columns)))
        if columns[name].category:
            raise _refuse(f"{name!r} is a category, and categories have no order")
    turned = -1 if contract.classes and contract.classes[0] == contract.positive else 1
    return [turned * params.monotone.get(name, 0) for name in columns]


def _explain_unknown(name: str, contract: Contract, columns: list[str]) -> str:
    parts = [column for feature in contract.features if feature.name == name for column in feature.columns]
    if parts:
        return f"{name!r} is a date; name one of its parts: {', '.join(parts)}"
    return f"the model has no feature {name!r}; it has {', '.join(columns[:10])}{', …' if len(columns) > 10 else ''}"  # noqa: PLR2004


def _refuse(reason: str) -> UserError:
    return UserError(f"params.yaml: monotone: {reason}")
