"""The estimators of LightGBM, imported only if `params.yaml` asks for them.

Every setting that could make the result depend on the machine is fixed.
"""

from typing import Any

from service.contract import Contract
from stages.features.graph import estimator_columns
from stages.params.params import Params

NAMES = ("lightgbm",)


def category_columns(contract: Contract) -> list[int]:
    """Return the positions of the matrix's columns that hold codes of categories."""
    return [place for place, column in enumerate(estimator_columns(contract)) if column.category]


def build(contract: Contract, params: Params) -> Any:
    """Return the unfitted estimator; parameters that are `auto` get the library's default."""
    return _lightgbm(contract, params)


def fit_options(contract: Contract, params: Params) -> dict[str, Any]:
    """Return arguments of the estimator's `fit`, by name."""
    return {"categorical_feature": category_columns(contract)} if params.model == "lightgbm" else {}


def _lightgbm(contract: Contract, params: Params) -> Any:
    import lightgbm  # noqa: PLC0415

    wanted: dict[str, Any] = params.lightgbm.model_dump() | {
        "n_estimators": params.n_estimators,
        "learning_rate": params.learning_rate,
        "max_depth": -1 if params.max_depth in ("auto", None) else params.max_depth,
        "min_child_samples": 20 if params.min_samples_leaf == "auto" else params.min_samples_leaf,
        "subsample_freq": int(params.lightgbm.subsample < 1),
        "random_state": params.random_state,
        "deterministic": True,
        "force_row_wise": True,
        "n_jobs": 1,  # more threads wait for each other for longer than they save (docs/estimators.md)
        "verbosity": -1,
    }
    if contract.classes:
        return lightgbm.LGBMClassifier(class_weight=params.class_weight, **wanted)
    return lightgbm.LGBMRegressor(**wanted)
