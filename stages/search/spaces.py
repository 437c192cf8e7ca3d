"""What is tried for each model, unless `search` in params.yaml says so."""

from typing import Any

import optuna
from pydantic import ValidationError

from stages.errors import UserError
from stages.params.params import Params
from stages.params.search import Range, Scalar, Settings, Space

_DIGITS = 4
"""Significant digits of a tried number, so that params.yaml stays readable."""

_FOREST: Space = {
    "max_depth": Range(low=4, high=40, log=True),
    "min_samples_leaf": Range(low=1, high=64, log=True),
    "max_features": Range(low=0.1, high=1.0),
}
_BOOSTING: Space = {
    "n_estimators": Range(low=30, high=600, log=True),
    "learning_rate": Range(low=0.01, high=0.3, log=True),
}
_TREES: Space = _BOOSTING | {
    "max_depth": Range(low=2, high=10),
    "min_samples_leaf": Range(low=2, high=200, log=True),
}
_PENALTY = Range(low=1e-3, high=100.0, log=True)
_ROWS, _FEATURES = Range(low=0.5, high=1.0), Range(low=0.3, high=1.0)
_LINEAR: Space = {"l2_penalty": Range(low=1e-4, high=1e4, log=True)}
DEFAULTS: dict[str, Space] = {
    # More trees never hurt a forest, so their number is no question of quality.
    "random_forest": _FOREST,
    "extra_trees": _FOREST,
    "hist_gradient_boosting": _TREES,
    "gradient_boosting": _TREES | {"max_features": Range(low=0.1, high=1.0)},
    "lightgbm": _BOOSTING
    | {
        "min_samples_leaf": Range(low=2, high=200, log=True),
        "lightgbm.num_leaves": Range(low=4, high=256, log=True),
        "lightgbm.reg_lambda": _PENALTY,
        "lightgbm.subsample": _ROWS,
        "lightgbm.colsample_bytree": _FEATURES,
    },
    "xgboost": _BOOSTING
    | {
        "max_depth": Range(low=2, high=10),
        "xgboost.min_child_weight": _PENALTY,
        "xgboost.reg_lambda": _PENALTY,
        "xgboost.subsample": _ROWS,
        "xgboost.colsample_bytree": _FEATURES,
    },
    "catboost": _BOOSTING
    | {
        "max_depth": Range(low=2, high=10),
        "catboost.l2_leaf_reg": _PENALTY,
        "catboost.random_strength": _PENALTY,
        "catboost.rsm": _FEATURES,
    },
    "logistic_regression": _LINEAR,
    "ridge": _LINEAR,
}
_LEAVES = 20
_OF_SOME = {"n_estimators", "max_depth", "min_samples_leaf", "max_features", "learning_rate", "l2_penalty"}
_ALSO = {"random_forest": {"n_estimators"}, "extra_trees": {"n_estimators"}, "lightgbm": {"max_depth"}}
"""What a model uses, but the default doesn't try."""


def space_of(params: Params, rows: int) -> Space:
    """Return `search`, or else the default for the model and this number of training rows.

    Raises UserError if there is neither, or if the model does not use or allow what is in `search`.
    """
    if params.model == "auto":
        raise UserError("params.yaml: model: auto chooses by itself; to search, name a model")
    default = DEFAULTS.get(params.model, {})
    used = set(default) | _ALSO.get(params.model, set())
    for name, entry in (params.search or default).items():
        group, _, inner = name.partition(".")
        if group != params.model if inner else name in _OF_SOME - used:
            raise UserError(f"params.yaml: search.{name}: model {params.model} does not use it; take it out of search")
        _check(params, name, entry)
    if not (params.search or default):
        raise UserError(f"params.yaml: model: {params.model} has nothing to search; use another model")
    return params.search or {name: _narrow(name, entry, rows) for name, entry in default.items()}


def _narrow(name: str, entry: Range | tuple[Scalar, ...], rows: int) -> Range | tuple[Scalar, ...]:
    """Return a range of `min_samples_leaf` that leaves a tree at least `_LEAVES` leaves."""
    if name != "min_samples_leaf" or isinstance(entry, tuple):
        return entry
    return entry.model_copy(update={"high": int(max(min(entry.high, rows // _LEAVES), entry.low + 1))})


def _check(params: Params, name: str, entry: Range | tuple[Scalar, ...]) -> None:
    for value in entry if isinstance(entry, tuple) else (entry.low, entry.high):
        try:
            Params.model_validate(params.with_settings({name: value}).model_dump(by_alias=True))
        except ValidationError as error:
            reason = str(error.errors()[0]["ctx"]["error"]).removeprefix(f"{name}: ")
            raise UserError(f"params.yaml: search.{name}: {reason}") from None


def suggest(trial: optuna.Trial, space: Space) -> Settings:
    """Let Optuna choose a value for each hyperparameter; a trial that has some already keeps them."""
    return {name: _suggest(trial, name, entry) for name, entry in space.items()}


def _suggest(trial: optuna.Trial, name: str, entry: Range | tuple[Scalar, ...]) -> Any:
    if isinstance(entry, tuple):
        return trial.suggest_categorical(name, entry)
    if isinstance(entry.low, int) and isinstance(entry.high, int):
        return trial.suggest_int(name, entry.low, entry.high, log=entry.log)
    return _rounded(trial.suggest_float(name, entry.low, entry.high, log=entry.log), entry)


def _rounded(value: float, entry: Range) -> float:
    return min(max(float(f"{value:.{_DIGITS}g}"), entry.low), entry.high)


def settings_of(trial: optuna.trial.FrozenTrial, space: Space) -> Settings:
    """Return what a trial tried, as `suggest` returned it."""
    return {
        name: _rounded(value, entry) if isinstance(entry := space[name], Range) and isinstance(value, float) else value
        for name, value in trial.params.items()
    }
