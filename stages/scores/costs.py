"""What decisions cost."""

import numpy as np
import pandas as pd

from service.contract import Label
from stages.scores.intervals import mean_interval
from stages.scores.metrics import Classified, Floats
from stages.scores.units import Units, compress

PER = 1_000


def cost_metrics(of: Classified, matrix: Floats, train_target: pd.Series, units: Units, seed: int) -> dict[str, float]:
    """Return what the decisions cost for `PER` test rows, beside the same decision for every row, with intervals.

    `cost_per_1000` is the model's; `…_never` and `…_always` are those of always predicting the negative or the
    positive class (binary); `…_constant` is that of the label that would have been cheapest on the training rows.
    `saving_per_1000` is the cheapest such constant, chosen on the training rows, minus the model's cost; its interval
    is one of differences on the same rows. Rows whose class isn't in training are left out.
    """
    known = of.y_true < len(matrix)
    y_true, y_pred = of.y_true[known], of.y_pred[known]
    if not len(y_true):
        return {}
    kept = Units(units.name, compress(units.codes[known]))
    model = matrix[y_true, y_pred]
    constant = cheapest_constant(matrix, of.labels, train_target)
    columns: dict[str, Floats] = {"cost_per_1000": model, "saving_per_1000": matrix[y_true, constant] - model}
    if of.positive is None:
        columns["cost_per_1000_constant"] = matrix[y_true, constant]
    else:
        columns["cost_per_1000_never"] = matrix[y_true, 1 - of.positive]
        columns["cost_per_1000_always"] = matrix[y_true, of.positive]
    found = {name: float(values.mean()) * PER for name, values in columns.items()}
    if kept.too_few:
        return found
    for name, values in columns.items():
        low, high = mean_interval(values * PER, kept, seed)
        found |= {f"{name}_low": low if name.startswith("saving") else max(low, 0.0), f"{name}_high": high}
    return found


def cheapest_constant(matrix: Floats, labels: tuple[Label, ...], train_target: pd.Series) -> int:
    """Return the place of the label that costs least if it is predicted for every training row."""
    shares = np.array([(train_target == label).mean() for label in labels[: len(matrix)]])
    return int((shares @ matrix).argmin())
