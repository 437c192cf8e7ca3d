"""``params.yaml`` as frozen, typed values."""

from stages.params.loading import load_params
from stages.params.naming import model_name
from stages.params.sections import (
    MIN_ROWS,
    MISSING,
    Costs,
    DataParams,
    EvaluateParams,
    RegisterParams,
    SplitParams,
    ValidateParams,
)
from stages.params.whole import ModelName, Params

__all__ = [
    "MIN_ROWS",
    "MISSING",
    "Costs",
    "DataParams",
    "EvaluateParams",
    "ModelName",
    "Params",
    "RegisterParams",
    "SplitParams",
    "ValidateParams",
    "load_params",
    "model_name",
]
