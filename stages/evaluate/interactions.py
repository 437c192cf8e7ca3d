"""Which pairs of features act together: Friedman and Popescu's H statistic, computed on the served file.

Friedman and Popescu (2008), "Predictive learning via rule ensembles". The effect of two features together is compared
with the sum of their single effects; what is left is their interaction.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.encoding import Matrix
from service.model import Model
from stages.stored import Table, take

COLUMNS = ["pair", "interaction", "share"]
_FEATURES = 6
_ROWS = 40
"""Rows whose values are tried, and as many rows that they are put into."""

Effect = npt.NDArray[np.float64]
"""Of some features' values in each of `_ROWS` rows on the scores: shape (rows, scores), with the mean 0."""


def compute_interactions(model: Model, rows: Table, features: Sequence[str]) -> pd.DataFrame:
    """Return the interactions of the first `_FEATURES` of `features`, the strongest first.

    `interaction` is the root mean square of what the pair adds to its single effects, in the unit of the scores;
    `share` is its share of the variance of the pair's effect, from 0 to 1 (the square of H).
    """
    every = np.arange(min(_ROWS, len(rows))) * len(rows) // min(_ROWS, len(rows))
    values = model.contract.encode(take(rows, every))
    into = model.contract.encode(take(rows, (every + len(rows) // (2 * len(every))) % len(rows)))
    columns = _columns(model)
    chosen = [name for name in features if name in columns][:_FEATURES]
    alone = {name: _effect(model, values, into, columns[name]) for name in chosen}
    found = []
    for first, second in combinations(chosen, 2):
        both = _effect(model, values, into, columns[first] + columns[second])
        rest, whole = ((each**2).sum(axis=1).mean() for each in (both - alone[first] - alone[second], both))
        found.append((f"{first} × {second}", float(np.sqrt(rest)), float(rest / whole) if whole > 0 else 0.0))
    table = pd.DataFrame(found, columns=COLUMNS)
    return table.sort_values("interaction", ascending=False, kind="stable", ignore_index=True)


def _columns(model: Model) -> dict[str, list[int]]:
    """Return the places of each feature's columns in the matrix."""
    sizes = [len(feature.columns) for feature in model.contract.features]
    ends = np.cumsum(sizes).tolist()
    names = [feature.name for feature in model.contract.features]
    return {name: list(range(end - size, end)) for name, size, end in zip(names, sizes, ends, strict=True)}


def _effect(model: Model, values: Matrix, into: Matrix, columns: list[int]) -> Effect:
    mixed = np.tile(into, (len(values), 1))
    mixed[:, columns] = np.repeat(values[:, columns], len(into), axis=0)
    scores = model.scores(mixed).astype(np.float64).reshape(len(values), len(into), -1)
    if model.contract.task == "binary":
        scores = scores[:, :, :1]  # the other class changes by as much
    means = scores.mean(axis=1)
    centred: Effect = means - means.mean(axis=0)
    return centred
