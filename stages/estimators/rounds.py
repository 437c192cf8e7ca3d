"""The learning curve of boosted models that are fitted already: the loss after each round, on some of the rows.

scikit-learn's boosters give their predictions after each round for what one prediction costs. Those of other packages
would predict anew for each point, or score rows during the fit, so models of these have no curve.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.contract import Contract
from stages.estimators.splitting import Fold

_MOST_ROWS = 2_000
"""Of each side of a fold, every n-th row up to this many."""
_MOST_POINTS = 50
_SMALLEST = 1e-15
_DIGITS = 8

Losses = Sequence[float]
Point = tuple[int, float, float]
"""The number of rounds, the loss of rows that were fitted, and that of held-out rows."""


def losses(pipeline: Pipeline, rows: pd.DataFrame, fold: Fold, contract: Contract) -> list[Losses]:
    """Return the loss after each round, of the fold's fitted and of its held-out rows; nothing for other models.

    This is the log loss, or the root of the mean squared error.
    """
    sides = [rows.iloc[places[:: -(-len(places) // _MOST_ROWS)]] for places in fold]
    estimator = getattr(pipeline["estimator"], "regressor_", pipeline["estimator"])
    if not hasattr(estimator, "staged_predict_proba" if contract.classes else "staged_predict"):
        return []
    with threadpool_limits(1):  # so few rows take five times the processor time on several
        return [list(_staged(pipeline, estimator, side, contract)) for side in sides]


def _staged(pipeline: Pipeline, estimator: Any, rows: pd.DataFrame, contract: Contract) -> Iterator[float]:
    y_true = rows[contract.target].to_numpy()
    X = pipeline[:-1].transform(rows[[feature.name for feature in contract.features]])
    if contract.classes:
        places = pd.Index(estimator.classes_).get_indexer(pd.Index(y_true))
        for probabilities in estimator.staged_predict_proba(X):
            right = np.where(places >= 0, probabilities[np.arange(len(rows)), places], 0.0)
            yield float(-np.log(np.maximum(right, _SMALLEST)).mean())
        return
    transformer = getattr(pipeline["estimator"], "transformer_", None)
    for values in estimator.staged_predict(X):
        scaled = transformer.inverse_transform(values.reshape(-1, 1)).ravel() if transformer else values
        yield float(np.sqrt(np.mean((scaled - y_true.astype(np.float64)) ** 2)))


def average(of_folds: Sequence[Sequence[Losses]]) -> tuple[Point, ...]:
    """Return the means over the folds, as far as all folds have as many rounds; at most 50 points."""
    sides = [each for each in of_folds if each]
    if not sides:
        return ()
    count = min(len(losses) for each in sides for losses in each)
    means = np.mean([[losses[:count] for losses in each] for each in sides], axis=0)
    shown = np.unique(np.linspace(0, count - 1, _MOST_POINTS).astype(int)).tolist()
    return tuple((place + 1, *(float(f"{side[place]:.{_DIGITS}g}") for side in means)) for place in shown)
