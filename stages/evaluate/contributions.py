"""How much each column contributes to the model's scores: on average over test rows, and by its values."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.contract import Contract, DateFeature, NumberFeature
from service.model import Model
from service.shapley import Explainer

_MOST_ROWS = 100
_FEWEST_ROWS = 10
_BUDGET = 2_000_000
"""Mixtures of rows that may be scored altogether, about 1 s for trees; if each row takes many, fewer are explained."""
_CURVES = 4
_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Contributions:
    """Rows of a table and the SHAP values of their features."""

    contract: Contract
    rows: pd.DataFrame
    values: npt.NDArray[np.float64]
    """Shape (rows, features)."""

    def means(self) -> pd.DataFrame:
        """Return the columns `feature` and `contribution`, the mean absolute value; the largest comes first."""
        names = [feature.name for feature in self.contract.features]
        found = pd.DataFrame({"feature": names, "contribution": np.abs(self.values).mean(axis=0)})
        return found.sort_values("contribution", ascending=False, kind="stable", ignore_index=True)

    def dependence(self) -> pd.DataFrame:
        """Return the mean contribution of the features that contribute most, from their lowest values to the highest.

        Columns: `share`, the share of the rows with lower values; `contribution`; `class`, the feature; `value`, the
        median of the group of rows. Only numbers and dates have curves, and none if there are several classes,
        because rows are then explained for different ones.
        """
        kinds = {each.name: each for each in self.contract.features}
        drawn = [name for name in self.means()["feature"] if isinstance(kinds[name], NumberFeature | DateFeature)]
        curves = [self._curve(name, list(kinds).index(name)) for name in drawn[:_CURVES]]
        if self.contract.task == "multiclass" or not curves:
            return pd.DataFrame()
        return pd.concat(curves, ignore_index=True)

    def _curve(self, name: str, place: int) -> pd.DataFrame:
        table = pd.DataFrame({"value": self.rows[name].to_numpy(), "contribution": self.values[:, place]}).dropna()
        share = table["value"].rank(pct=True)
        groups = table.assign(share=share).groupby(np.ceil(share * _GROUPS))
        found = groups.agg({"share": "mean", "contribution": "mean", "value": "median"})
        found["class"], found["value"] = name, found["value"].astype("str")
        return found


def explain_rows(model: Model, rows: pd.DataFrame, threshold: float) -> Contributions:
    """Explain some of `rows`, evenly spaced.

    Raises NoBackgroundError if the model's file has no background rows.
    """
    explainer = Explainer(model)
    count = min(max(_BUDGET // explainer.scores_per_row, _FEWEST_ROWS), _MOST_ROWS, len(rows))
    chosen = rows.iloc[np.arange(count) * len(rows) // count]
    matrix = model.contract.encode(chosen)
    scores = model.scores(matrix)
    labels = model.labels(scores, threshold) if model.contract.classes else [None] * count
    explained = [explainer.explain(*each) for each in zip(matrix, scores.reshape(count, -1), labels, strict=True)]
    return Contributions(model.contract, chosen, np.array([each.contributions for each in explained]))
