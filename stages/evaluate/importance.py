"""How much worse the served model gets when a column is shuffled."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.encoding import Matrix
from service.model import Model
from stages.features.parts import Parts
from stages.scores.metrics import classified, log_loss
from stages.stored import Table, take

_MOST_ROWS = 5_000
_FEWEST_ROWS = 50
_MOST_REPEATS = 5
_BUDGET = 200_000
"""Rows that may be scored altogether, about 1 s for a forest; wide tables get fewer rows for each column."""


def compute_importance(model: Model, table: Table, seed: int, parts: Parts | None = None) -> pd.DataFrame:
    """Return the permutation importance (Breiman 2001) of columns and derived features, scored with the ONNX file.

    Columns: `feature` and `importance`, the rise of the log loss, or of the mean absolute error,
    when the column's values are shuffled among test rows. The most important column comes first.
    A column is shuffled before the derived features are computed, so its importance includes
    theirs; `parts` are needed to shuffle a derived feature alone.
    """
    rng = np.random.default_rng(seed)
    features = model.contract.features
    derived = list(model.contract.derived) if parts else []
    count = len(features) + len(derived)
    size = min(len(table), max(_BUDGET // count, _FEWEST_ROWS), _MOST_ROWS)
    repeats = min(max(_BUDGET // (size * count), 1), _MOST_REPEATS)
    rows = take(table, np.sort(rng.choice(len(table), size, replace=False)))
    sample, truth = model.contract.encode(rows), rows[model.contract.target].to_numpy()
    whole = _loss(model, sample, truth)
    rises = []
    first = 0
    for feature in features:
        columns = slice(first, first + len(feature.columns))
        first = columns.stop
        losses = [_loss(model, _shuffled(sample, columns, rng), truth) for _ in range(repeats)]
        rises.append(float(np.mean(losses)) - whole)
    if parts:
        computed = parts.derive(sample)
        for place in range(computed.shape[1] - len(derived), computed.shape[1]):
            column = slice(place, place + 1)
            losses = [_loss(parts.estimator, _shuffled(computed, column, rng), truth) for _ in range(repeats)]
            rises.append(float(np.mean(losses)) - whole)
    names = [*(feature.name for feature in features), *derived]
    found = pd.DataFrame({"feature": names, "importance": rises})
    return found.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _shuffled(sample: Matrix, columns: slice, rng: np.random.Generator) -> Matrix:
    changed = sample.copy()
    changed[:, columns] = sample[rng.permutation(len(sample)), columns]
    return changed


def _loss(model: Model, matrix: Matrix, y_true: npt.NDArray[np.object_ | np.float64]) -> float:
    scores = model.scores(matrix)
    if not model.contract.classes:
        return float(np.abs(y_true.astype(np.float64) - scores).mean())
    return float(log_loss(classified(model.contract, y_true, scores, [])).mean())
