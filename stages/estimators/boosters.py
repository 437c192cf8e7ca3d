"""The estimators of LightGBM, XGBoost and CatBoost, imported only if `params.yaml` asks for them.

They use one thread: more wait for each other for longer than they save on a busy machine, and
CatBoost's result depends on their number (docs/how-to/estimators.md).
"""

from typing import Any

from service.contract import Contract
from stages.estimators.constraints import monotone
from stages.estimators.steps import BoosterClassifier, BoosterRegressor, ShiftCodes
from stages.features.graph import estimator_columns
from stages.params.params import Params

NAMES = ("lightgbm", "xgboost", "catboost")


def category_columns(contract: Contract) -> list[int]:
    """Return the positions of the matrix's columns that hold codes of categories."""
    return [place for place, column in enumerate(estimator_columns(contract)) if column.category]


def build(contract: Contract, params: Params) -> list[tuple[str, Any]]:
    """Return the steps after `encode`, unfitted; parameters that are `auto` get the library's default."""
    build_one = {"lightgbm": _lightgbm, "xgboost": _xgboost, "catboost": _catboost}[params.model]
    names = {"n_estimators", "learning_rate", "random_state"}
    constraints = monotone(contract, params)
    shared = params.model_dump(include=names)
    if constraints and params.model == "lightgbm":
        shared["monotone_constraints"] = constraints
    elif constraints:  # as text, because scikit-learn's `clone` would copy a list, and CatBoost as well
        shared["monotone_constraints"] = f"({','.join(map(str, constraints))})"
    estimator = build_one(contract, params, shared)
    if params.model == "catboost":  # for which codes are numbers
        return [("estimator", estimator)]
    return [("shift", ShiftCodes(category_columns(contract))), ("estimator", estimator)]


def fit_options(contract: Contract, params: Params) -> dict[str, Any]:
    """Return arguments of the estimator's `fit`, by name."""
    return {"categorical_feature": category_columns(contract)} if params.model == "lightgbm" else {}


def _lightgbm(contract: Contract, params: Params, shared: dict[str, Any]) -> Any:
    import lightgbm  # noqa: PLC0415

    wanted = shared | params.lightgbm.model_dump()
    wanted |= {
        "max_depth": -1 if params.max_depth in ("auto", None) else params.max_depth,
        "min_child_samples": 20 if params.min_samples_leaf == "auto" else params.min_samples_leaf,
        "subsample_freq": int(params.lightgbm.subsample < 1),
        "deterministic": True,
        "force_row_wise": True,
        "n_jobs": 1,
        "verbosity": -1,
    }
    if contract.classes:
        return lightgbm.LGBMClassifier(class_weight=params.class_weight, **wanted)
    return lightgbm.LGBMRegressor(**wanted)


def _xgboost(contract: Contract, params: Params, shared: dict[str, Any]) -> Any:
    import xgboost  # noqa: PLC0415

    categories = category_columns(contract)
    wanted = shared | params.xgboost.model_dump()
    wanted |= {
        "max_depth": 6 if params.max_depth == "auto" else params.max_depth or 0,
        "tree_method": "hist",
        "enable_categorical": True,
        "feature_types": ["c" if place in categories else "q" for place in range(len(estimator_columns(contract)))],
        "n_jobs": 1,
    }
    if contract.classes:
        return BoosterClassifier(xgboost.XGBClassifier(**wanted))
    return BoosterRegressor(xgboost.XGBRegressor(**wanted))


def _catboost(contract: Contract, params: Params, shared: dict[str, Any]) -> Any:
    import catboost  # type: ignore[import-untyped]  # noqa: PLC0415

    wanted = shared | params.catboost.model_dump()
    wanted |= {
        "max_depth": 6 if params.max_depth == "auto" else params.max_depth,
        "thread_count": 1,
        "allow_writing_files": False,
        "verbose": False,
    }
    if contract.classes:
        return BoosterClassifier(catboost.CatBoostClassifier(**wanted))
    return BoosterRegressor(catboost.CatBoostRegressor(**wanted))
