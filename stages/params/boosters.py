"""The groups of ``params.yaml`` with a booster's own hyperparameters, named as in the library."""

from typing import Annotated

from pydantic import Field

from stages.params.sections import Section

_Penalty = Annotated[float, Field(ge=0, le=1e9)]
_Fraction = Annotated[float, Field(gt=0, le=1)]


class LightGBMParams(Section):
    """What only ``model: lightgbm`` has."""

    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 31
    reg_alpha: _Penalty = 0.0
    reg_lambda: _Penalty = 0.0
    min_split_gain: _Penalty = 0.0
    subsample: _Fraction = 1.0
    colsample_bytree: _Fraction = 1.0


class XGBoostParams(Section):
    """What only ``model: xgboost`` has."""

    min_child_weight: _Penalty = 1.0
    gamma: _Penalty = 0.0
    reg_alpha: _Penalty = 0.0
    reg_lambda: _Penalty = 1.0
    subsample: _Fraction = 1.0
    colsample_bytree: _Fraction = 1.0


class CatBoostParams(Section):
    """What only ``model: catboost`` has."""

    l2_leaf_reg: _Penalty = 3.0
    random_strength: _Penalty = 1.0
    rsm: _Fraction = 1.0
