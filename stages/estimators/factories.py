"""Estimators that a function of the user's returns: `model: package.module:function` in params.yaml."""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from service.contract import Contract
from stages.errors import UserError
from stages.features.graph import estimator_columns
from stages.params.params import Params

_STAGES = ("train", "export", "evaluate")
"""The stages of dvc.yaml that import the function's module."""


def build(contract: Contract, params: Params) -> list[tuple[str, Any]]:
    """Return the steps after `encode`, unfitted: the matrix as doubles, and what the function returns.

    The function gets the values of `factory` in params.yaml by name; and, if it has parameters of these
    names, `random_state` and `columns`, the matrix's columns, each with `name` and `category`.

    Raises UserError if there is no such function, it refuses its arguments, or DVC doesn't track its module.
    """
    make = load(params.model)
    given = {"random_state": params.random_state, "columns": estimator_columns(contract)}
    wanted = inspect.signature(make).parameters
    try:
        estimator = make(**{name: value for name, value in given.items() if name in wanted} | params.factory)
    except TypeError as error:
        raise UserError(f"params.yaml: factory: {params.model} does not accept it: {error}") from None
    double = FunctionTransformer(np.asarray, kw_args={"dtype": np.float64})
    return [("double", double), ("estimator", estimator)]


def explain_error(model: str, error: Exception) -> UserError:
    """Return the error of the user's estimator in one line."""
    return UserError(f"params.yaml: model: {model} can't be fitted: {' '.join(str(error).split())[:300]}")


def check_fitted(pipeline: Pipeline, contract: Contract, model: str) -> None:
    """Raise UserError if the fitted estimator of a classification has no probabilities."""
    if contract.classes and not hasattr(pipeline, "predict_proba"):
        problem = "has no predict_proba; scikit-learn's CalibratedClassifierCV(estimator, ensemble=False) adds it"
        raise UserError(f"params.yaml: model: the estimator of {model} {problem}")


def load(name: str) -> Callable[..., Any]:
    """Import and return the function. Raises UserError if there is none, or if DVC doesn't track its module."""
    module_name, _, function = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UserError(f"params.yaml: model: got {name!r}, and there is no module {error.name!r} here") from None
    found = getattr(module, function, None)
    if not callable(found):
        raise UserError(f"params.yaml: model: got {name!r}, and {module.__file__} has no function {function!r}")
    check_tracked(module_name)
    return found  # type: ignore[no-any-return]


def check_tracked(module_name: str) -> None:
    """Raise UserError if the module, or one of its package that it imports, is in none of dvc.yaml's deps.

    The modules of installed packages are in the lock files.
    """
    stages = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in _STAGES:
        deps = [Path(dep).absolute() for dep in stages[stage]["deps"] if isinstance(dep, str)]
        for path in _own_files(module_name):
            if not any(path.is_relative_to(dep) for dep in deps):
                raise UserError(
                    f"dvc.yaml: the deps of the stage {stage} lack {path.relative_to(Path.cwd())}, the code of "
                    f"params.yaml's model; add it or its folder to the deps of {', '.join(_STAGES)}, so that they run "
                    "again when it changes"
                )


def _own_files(module_name: str) -> list[Path]:
    """Return the files of this repository that the module's package has imported so far."""
    package = _top(module_name)
    # A test compares this project's own modules with the deps.
    names = [module_name] if package == "stages" else [name for name in sys.modules if _top(name) == package]
    files = [Path(file).absolute() for name in names if (file := getattr(sys.modules[name], "__file__", None))]
    here = [path for path in files if path.is_relative_to(Path.cwd()) and path.stat().st_size]
    return [path for path in here if not path.is_relative_to(Path(sys.prefix).absolute())]


def _top(name: str) -> str:
    return name.partition(".")[0]
