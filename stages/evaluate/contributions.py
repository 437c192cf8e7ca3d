"""How much each column contributes to the model's scores: on average over test rows, and by its values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.contract import Contract, DateFeature, Label, NumberFeature
from service.encoding import Matrix
from service.model import Model
from service.shapley import Explainer
from stages.partitions.executors import Spread
from stages.partitions.pieces import map_pieces
from stages.partitions.served import Served
from stages.scores.metrics import Floats
from stages.stored import Table, take

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


class _Explaining:
    """What explains rows, in each process anew."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.explainer = Explainer(served.model)

    def __reduce__(self) -> tuple[type["_Explaining"], tuple[Served]]:
        return _Explaining, (self.served,)


def explain_rows(model: Model | Served, rows: Table, threshold: float, spread: Spread | None = None) -> Contributions:
    """Explain some of `rows`, evenly spaced.

    Raises NoBackgroundError if the model's file has no background rows.
    """
    explaining = _Explaining(Served.of(model))
    model, explainer = explaining.served.model, explaining.explainer
    count = min(max(_BUDGET // explainer.scores_per_row, _FEWEST_ROWS), _MOST_ROWS, len(rows))
    chosen = take(rows, np.arange(count) * len(rows) // count)
    matrix = model.contract.encode(chosen)
    scores = model.scores(matrix)
    labels = model.labels(scores, threshold) if model.contract.classes else [None] * count
    each_row = zip(matrix, scores.reshape(count, -1), labels, strict=True)
    explained = map_pieces(_explain, explaining, each_row, spread or Spread())
    return Contributions(model.contract, chosen, np.array(list(explained)))


def _explain(explaining: _Explaining, row: tuple[Matrix, npt.NDArray[np.floating[Any]], Label | None]) -> Floats:
    return explaining.explainer.explain(*row).contributions
