"""Early stopping: find the number of boosting rounds on training rows that are held out, split as the test was."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.utils.class_weight import compute_sample_weight

from service.contract import Contract
from stages.estimators import fitting
from stages.estimators.splitting import Fold, folds
from stages.params.params import Params
from stages.schema import Split

_PARTS = 5
"""About one fifth of the rows is held out."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the estimator gets: rows to fit on, and held-out rows on which the loss is watched."""

    X: Any
    y: npt.NDArray[Any]
    X_held: Any
    y_held: npt.NDArray[Any]
    weights_held: npt.NDArray[np.float64] | None
    options: dict[str, Any]
    """More arguments of the estimator's `fit`."""


def limit_rounds(
    rows: pd.DataFrame, contract: Contract, split: Split, params: Params, size: int | None = None
) -> Params:
    """Return `params` with the number of rounds that has the least loss on held-out rows, at most `n_estimators`.

    These are the latest rows of a split by time, else whole groups or rows drawn with `random_state`. The caller
    fits that many rounds on all rows. Unchanged if `early_stopping` is null, the model has no rounds, or the rows
    are too few to be split.
    """
    # By time the rows are cut into one part more than there are folds.
    wanted = _PARTS - 1 if split.method == "time" else _PARTS
    if not (params.early_stopping and params.model in _FINDERS):
        return params
    parts = list(folds(rows, contract, split, wanted, params.random_state))
    rounds = find_rounds(rows, parts[-1], contract, params, size or len(rows)) if parts else None
    return params.model_copy(update={"n_estimators": rounds}) if rounds else params


def find_rounds(rows: pd.DataFrame, fold: Fold, contract: Contract, params: Params, size: int) -> int | None:
    """Return the number of rounds with the least loss on the fold's held-out rows, at most `n_estimators`.

    None if the model has no rounds or `early_stopping` is null, or if the rows of the fold's two sides have no
    two classes in common. `size` as in `fitting.fit`.
    """
    find = _FINDERS.get(params.model)
    if find is None or params.early_stopping is None:
        return None
    fitted, held_out = (rows.iloc[places] for places in fold)
    if contract.classes:
        held_out = held_out[held_out[contract.target].isin(fitted[contract.target].unique())]
        if len(fitted[contract.target].unique()) == 1 or held_out.empty:
            return None
    given = fitting.prepare(fitted, contract, params, size)
    estimator = given.pipeline["estimator"]
    with fitting.controlled():
        given_rows = _Rows(
            given.pipeline[:-1].fit_transform(given.X),
            given.y.to_numpy(),
            given.pipeline[:-1].transform(held_out[list(given.X)]),
            held_out[contract.target].to_numpy(),
            held_out_weights(held_out, contract, params),
            given.options,
        )
        if isinstance(estimator, TransformedTargetRegressor):
            given_rows = _scaled(estimator.transformer, given_rows)
            estimator = estimator.regressor
        return max(1, find(estimator, given_rows, params.early_stopping))


def held_out_weights(rows: pd.DataFrame, contract: Contract, params: Params) -> npt.NDArray[np.float64] | None:
    """Return how much each row counts in a loss, by `data.weight` and `class_weight`; None if all count the same."""
    if not (params.data.weight or params.class_weight):
        return None
    by_class = compute_sample_weight("balanced", rows[contract.target]) if params.class_weight else 1.0
    return np.asarray(fitting.row_weights(rows, params) * by_class)


def _scaled(transformer: Any, rows: _Rows) -> _Rows:
    """Return the rows with targets as the estimator sees them in a pipeline that standardises the target."""
    scaler = clone(transformer).fit(rows.y.reshape(-1, 1))
    y, y_held = (scaler.transform(each.reshape(-1, 1)).ravel() for each in (rows.y, rows.y_held))
    return replace(rows, y=y, y_held=y_held)


def _lightgbm(estimator: Any, rows: _Rows, patience: int) -> int:
    import lightgbm  # noqa: PLC0415

    y, y_held = _codes(estimator, rows)
    watched = {
        "eval_X": rows.X_held,
        "eval_y": y_held,
        "eval_sample_weight": None if rows.weights_held is None else [rows.weights_held],
        "callbacks": [lightgbm.early_stopping(patience, verbose=False)],
    }
    estimator.fit(rows.X, y, **watched, **rows.options)
    return int(estimator.best_iteration_)


def _xgboost(estimator: Any, rows: _Rows, patience: int) -> int:
    inner = estimator.estimator.set_params(early_stopping_rounds=patience)
    y, y_held = _codes(inner, rows)
    weights = None if rows.weights_held is None else [rows.weights_held]
    watched = {"eval_set": [(rows.X_held, y_held)], "sample_weight_eval_set": weights, "verbose": False}
    inner.fit(rows.X, y, **watched, **rows.options)
    return int(inner.best_iteration) + 1


def _catboost(estimator: Any, rows: _Rows, patience: int) -> int:
    import catboost  # type: ignore[import-untyped]  # noqa: PLC0415

    inner = estimator.estimator
    y, y_held = _codes(inner, rows)
    watched = catboost.Pool(rows.X_held, y_held, weight=rows.weights_held)
    inner.fit(rows.X, y, eval_set=watched, early_stopping_rounds=patience, **rows.options)
    return int(inner.get_best_iteration()) + 1


def _codes(estimator: Any, rows: _Rows) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the targets, with a classifier's labels as numbers."""
    if not hasattr(estimator, "predict_proba"):
        return rows.y, rows.y_held
    classes, codes = np.unique(rows.y, return_inverse=True)
    return codes, np.searchsorted(classes, rows.y_held)


def _hist_gradient_boosting(estimator: Any, rows: _Rows, patience: int) -> int:
    estimator.set_params(early_stopping=True, n_iter_no_change=patience, scoring="loss")
    watched = {"X_val": rows.X_held, "y_val": rows.y_held, "sample_weight_val": rows.weights_held}
    estimator.fit(rows.X, rows.y, **watched, **rows.options)
    return int(np.argmax(estimator.validation_score_))  # the first one is before the first round


def _gradient_boosting(estimator: Any, rows: _Rows, patience: int) -> int:
    estimator.fit(rows.X, rows.y, **rows.options)
    weights = rows.weights_held
    if not hasattr(estimator, "classes_"):
        values = estimator.staged_predict(rows.X_held)
        return _best((mean_squared_error(rows.y_held, each, sample_weight=weights) for each in values), patience)
    labels, shares = estimator.classes_, estimator.staged_predict_proba(rows.X_held)
    return _best((log_loss(rows.y_held, each, sample_weight=weights, labels=labels) for each in shares), patience)


def _best(losses: Iterable[float], patience: int) -> int:
    """Return the number of rounds with the least loss, before the first `patience` rounds without a lower one."""
    best, rounds = np.inf, 0
    for number, loss in enumerate(losses, 1):
        if loss < best:
            best, rounds = loss, number
        if number - rounds >= patience:
            break
    return rounds


_FINDERS: dict[str, Callable[[Any, _Rows, int], int]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
    "hist_gradient_boosting": _hist_gradient_boosting,
    "gradient_boosting": _gradient_boosting,
}
