"""Find out whether the target holds classes or numbers, and which classes."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api import types

from service.contract import Label
from stages.errors import UserError
from stages.params.params import Params
from stages.prepare.rare import FEWEST_ROWS

_MAX_NUMBER_CLASSES = 20
_MAX_CLASSES = 200
_FEW_CLASSES = 10
_ROWS_OF_A_CLASS = 10
_RARE = 0.2
_TWO = 2


def is_classification(target: pd.Series, task: str) -> bool:
    """Return whether the target holds classes; if `task` is ``auto``, its known values decide.

    Text and booleans are classes. Numbers are classes if they are whole and few: at most 20 different
    ones, with ten rows each on average. More than ten, of which one is rare, are counts and no classes.
    """
    if task != "auto":
        return task == "classification"
    if not _is_number(target):
        return True
    values = target.to_numpy(np.float64)
    if not np.all(values % 1 == 0):
        return False
    different, counts = np.unique(values, return_counts=True)
    if len(different) > _FEW_CLASSES and counts.min() < counts.mean() * _RARE:
        return False
    return len(different) <= min(_MAX_NUMBER_CLASSES, max(_TWO + 1, len(values) // _ROWS_OF_A_CLASS))


def _is_number(target: pd.Series) -> bool:
    return bool(types.is_numeric_dtype(target.dtype) and not types.is_bool_dtype(target.dtype))


def labels(target: pd.Series, params: Params) -> pd.Series:
    """Return the classes as booleans, int64 or text.

    Raises UserError if the target holds dates or fractions, or more than 200 classes.
    """
    where = f"{params.data.path}: the target {target.name!r}"
    if types.is_datetime64_any_dtype(target.dtype):
        raise UserError(f"{where} holds dates; expected classes or numbers")
    if _is_number(target) and (target % 1 != 0).any():
        problem = f"got 'classification', but the target {target.name!r} holds fractions; expected regression"
        raise UserError(f"params.yaml: data.task: {problem}")
    found = target.astype("int64" if _is_number(target) else "bool" if types.is_bool_dtype(target.dtype) else "str")
    counts = found.value_counts()
    if params.data.rare_classes != "error":
        counts = counts[counts >= FEWEST_ROWS]
    if len(counts) > _MAX_CLASSES:
        raise UserError(
            f"{where} has {len(counts):,} classes, and at most {_MAX_CLASSES} are allowed; "
            "if they are numbers, set data.task to regression in params.yaml, else data.rare_classes to drop or join"
        )
    return found


def classes(train_target: pd.Series, params: Params) -> tuple[Label, ...]:
    """Return the classes of the training rows in order. Raises UserError if there is only one."""
    found: list[Label] = sorted(train_target.unique().tolist())
    if len(found) < _TWO:
        raise UserError(
            f"{params.data.path}: the training rows hold only the class {_shown(found[0])} of {params.data.target!r}; "
            "change split.method or split.test_size"
        )
    return tuple(found)


def task(found: tuple[Label, ...]) -> Literal["binary", "multiclass", "regression"]:
    """Return the task that has these classes."""
    return ("binary" if len(found) == _TWO else "multiclass") if found else "regression"


def positive(train_target: pd.Series, found: tuple[Label, ...], params: Params) -> Label | None:
    """Return the class that `data.positive` names, as a boolean, number or text.

    If it is null: the second of two booleans or numbers, as in scikit-learn. The order of names has
    no meaning, so of two names it is the rarer in the training rows; if both are equal, the second.
    None unless there are two classes. Raises UserError if `data.positive` names no class.
    """
    if len(found) != _TWO:
        return None
    wanted = params.data.positive
    if wanted is None:
        first = (train_target == found[0]).sum()
        return found[0] if isinstance(found[0], str) and 2 * first < len(train_target) else found[1]
    exact = [label for label in found if label == wanted]
    named = exact or [label for label in found if str(label).lower() == str(wanted).lower()]
    if len(named) == 1:
        return named[0]
    shown = " and ".join(map(_shown, found))
    raise UserError(f"params.yaml: data.positive: got {_shown(wanted)}; the classes are {shown}")


def _shown(value: Any) -> str:
    """Return a value as in YAML: booleans in lower case, text in quotes."""
    return str(value).lower() if isinstance(value, bool | np.bool_) else repr(getattr(value, "item", lambda: value)())
