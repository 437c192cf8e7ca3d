"""How much each column contributes to the model's scores, on average over test rows."""

import numpy as np
import pandas as pd

from service.model import Model
from service.shapley import Explainer

_MOST_ROWS = 100
_FEWEST_ROWS = 10
_BUDGET = 2_000_000
"""Mixtures of rows that may be scored altogether, about 1 s for trees; if each row takes many, fewer are explained."""


def mean_contributions(model: Model, rows: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return the columns `feature` and `contribution`, the mean absolute SHAP value of each column of the table.

    They are those of some of `rows`, evenly spaced. The feature that contributes most comes first.

    Raises NoBackgroundError if the model's file has no background rows.
    """
    explainer = Explainer(model)
    count = min(max(_BUDGET // explainer.scores_per_row, _FEWEST_ROWS), _MOST_ROWS, len(rows))
    matrix = model.contract.encode(rows.iloc[np.arange(count) * len(rows) // count])
    scores = model.scores(matrix)
    labels = model.labels(scores, threshold) if model.contract.classes else [None] * count
    explained = [explainer.explain(*each) for each in zip(matrix, scores.reshape(count, -1), labels, strict=True)]
    means = np.abs([each.contributions for each in explained]).mean(axis=0)
    found = pd.DataFrame({"feature": [feature.name for feature in model.contract.features], "contribution": means})
    return found.sort_values("contribution", ascending=False, kind="stable", ignore_index=True)
