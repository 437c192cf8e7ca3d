"""Estimators that a function of the user's returns: `model: package.module:function` in params.yaml."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from service.contract import Contract
from stages.entry import GROUPS
from stages.errors import UserError
from stages.features.graph import estimator_columns
from stages.params.params import Params

_STAGES = ("train", "export", "evaluate")
"""The stages of dvc.yaml that import the function's module."""
_LONGEST = 300


def build(contract: Contract, params: Params) -> list[tuple[str, Any]]:
    """Return the steps after `encode`, unfitted: the matrix as doubles, and what the function returns.

    The function gets the values of `factory` in params.yaml by name; and, if it has parameters of these
    names, `random_state` and `columns`, the matrix's columns, each with `name` and `category`.

    Raises UserError if there is no such function, it fails or refuses its arguments, what it returns is no
    estimator, or DVC doesn't track its module.
    """
    make = load(params.model)
    given = {"random_state": params.random_state, "columns": estimator_columns(contract)}
    try:
        wanted = inspect.signature(make).parameters
        estimator = make(**{name: value for name, value in given.items() if name in wanted} | params.factory)
    except TypeError as error:
        raise UserError(f"params.yaml: factory: {params.model} does not accept it: {_described(error)}") from None
    except Exception as error:
        raise explain_error(params.model, "fails", error) from error
    _check_returned(estimator, contract, params.model)
    double = FunctionTransformer(np.asarray, kw_args={"dtype": np.float64})
    return [("double", double), ("estimator", estimator)]


def _check_returned(estimator: Any, contract: Contract, model: str) -> None:
    problem = f"params.yaml: model: {model} returns"
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        got = f"the class {estimator.__name__}" if isinstance(estimator, type) else repr(estimator)[:40]
        raise UserError(f"{problem} {got}; return an estimator, such as Ridge()")
    if not contract.classes and hasattr(estimator, "__sklearn_tags__") and is_classifier(estimator):
        raise UserError(f"{problem} a classifier, but {contract.target!r} holds numbers; return a regressor")


def explain_error(model: str, problem: str, error: Exception) -> UserError:
    """Return the error of the user's code or estimator in one line, with the place in that code if it has one."""
    module, here, packages = model.partition(":")[0], Path.cwd(), Path(sys.prefix).absolute()
    ours = {each.__file__ for name, each in sys.modules.items() if _top(name) == "stages" and name != module}
    calls = [
        (path, call.lineno)
        for call in traceback.extract_tb(error.__traceback__)
        if (path := Path(call.filename)).is_relative_to(here) and not path.is_relative_to(packages)
        if call.filename not in ours
    ]
    where = f"{calls[-1][0].relative_to(here)}:{calls[-1][1]}: " if calls else ""
    return UserError(f"params.yaml: model: {model} {problem}: {where}{_described(error)}")


def _described(error: Exception) -> str:
    """Return the error's text in one line; a KeyError's or an empty one says nothing without the kind."""
    text = " ".join(str(error).split())[:_LONGEST]
    return text if isinstance(error, (TypeError, ValueError)) and text else f"{type(error).__name__}: {text}"


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
        if error.name in GROUPS:
            raise
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise explain_error(name, "can't be imported", error) from error
        raise UserError(f"params.yaml: model: got {name!r}, and there is no module {error.name!r} here") from None
    except Exception as error:
        raise explain_error(name, "can't be imported", error) from error
    found = getattr(module, function, None)
    if not callable(found):
        raise UserError(f"params.yaml: model: got {name!r}, and {module_name} has no function {function!r}")
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
