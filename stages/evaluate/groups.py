"""Figures by group of people or things, and how far the groups are apart: names and definitions as in Fairlearn.

Every figure is a mean over some rows of a group: of all for `selection_rate`, of the positive ones for
`true_positive_rate`. So its interval comes from the sums of the rows' influences over independent units.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from service.contract import Contract
from stages.errors import UserError
from stages.evaluate.cuts import cut, cut_values
from stages.evaluate.slices import least_error
from stages.scores.metrics import Codes, Floats, Outcome, Predicted
from stages.scores.units import FEWEST, Units
from stages.stored import Table

COLUMNS = ["column", "group", "class", "metric", "value", "low", "high", "rows", "units", "note"]
"""Of metrics/groups.csv: one row for each figure. `rows` and `units` are those that the figure is a mean of."""
BETWEEN = "(between groups)"
"""In the column `group`: a difference or a ratio of the groups."""
_MOST_CLASSES = 10
_RATES = {
    "selection_rate": "demographic_parity",
    "true_positive_rate": "equal_opportunity",
    "false_positive_rate": "false_positive_rate",
    "accuracy_score": "accuracy_score",
}
"""Figures from 0 to 1, and what the name of their difference and ratio begins with."""
_EQUALIZED_ODDS = ("true_positive_rate", "false_positive_rate")
_ERRORS = ("calibration_error", "mean_error", "mean_absolute_error")
"""Figures that have only a difference: most are around zero."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over the rows of one group."""

    group: str
    value: float
    influence: Floats
    """Of each unit on the value, shape (units,)."""
    rows: int
    units: int


@dataclass(frozen=True, slots=True)
class _Measure:
    """What is averaged over which rows."""

    name: str
    per_row: Floats
    """Shape (rows,)."""
    counted: Flags
    """Shape (rows,)."""
    label: str = ""
    """The class that counts as positive."""


def compute_groups(
    outcome: Outcome, contract: Contract, rows: Table, columns: Sequence[str], units: Units
) -> pd.DataFrame:
    """Return the table of `COLUMNS` for each column that names groups.

    Classes: `selection_rate`, `true_positive_rate`, `false_positive_rate`, the mean probability
    (`mean_prediction`) beside the true share (`actual`), and `calibration_error`, the first minus the second;
    each of the positive class, or with more than two classes of each against the rest; and `accuracy_score`.
    Regression: `mean_prediction`, `actual`, `mean_error` (the first minus the second), `mean_absolute_error`.

    Raises UserError for a column that is not in the test rows.
    """
    lines: list[dict[str, object]] = []
    for column in columns:
        codes, names = _cut(contract, rows, column)
        by_class: dict[str, dict[str, list[Figure]]] = {}
        for measure in _measures(outcome):
            figures = list(_figures(measure, codes, names, units))
            by_class.setdefault(measure.label, {})[measure.name] = figures
            lines += [
                {"column": column, "class": measure.label, "metric": measure.name} | _line(figure, measure.name)
                for figure in figures
            ]
        for label, by_metric in by_class.items():
            lines += [{"column": column, "class": label, "group": BETWEEN} | line for line in _between(by_metric)]
    table = pd.DataFrame(lines, columns=COLUMNS)
    for name in ("value", "low", "high"):
        table[name] = [float(f"{value:.6g}") for value in table[name].astype(np.float64)]
    return table


def worst_differences(table: pd.DataFrame) -> dict[str, float]:
    """Return the largest of each difference over columns and classes, for metrics.json."""
    between = table[(table["group"] == BETWEEN) & table["metric"].str.endswith("_difference")]
    return {str(name): float(values.max()) for name, values in between.groupby("metric")["value"]}


def _cut(contract: Contract, rows: Table, column: str) -> tuple[Codes, list[str]]:
    if column not in rows:
        raise UserError(f"params.yaml: evaluate.groups: no column {column!r} in the test rows; run `dvc repro`")
    feature = next((each for each in contract.features if each.name == column), None)
    return cut(feature, rows[column]) if feature else cut_values(rows[column])


def _measures(outcome: Outcome) -> Iterator[_Measure]:
    everyone = np.ones(len(outcome.y_true), dtype=bool)
    if isinstance(outcome, Predicted):
        error = outcome.y_pred - outcome.y_true
        yield _Measure("mean_prediction", outcome.y_pred, everyone)
        yield _Measure("actual", outcome.y_true, everyone)
        yield _Measure("mean_error", error, everyone)
        yield _Measure("mean_absolute_error", np.abs(error), everyone)
        return
    yield _Measure("accuracy_score", (outcome.y_pred == outcome.y_true).astype(np.float64), everyone)
    for place in outcome.ranked[:_MOST_CLASSES]:
        label, chosen = str(outcome.labels[place]), (outcome.y_pred == place).astype(np.float64)
        positive, probability = outcome.y_true == place, outcome.probabilities[:, place]
        yield _Measure("selection_rate", chosen, everyone, label)
        yield _Measure("true_positive_rate", chosen, positive, label)
        yield _Measure("false_positive_rate", chosen, ~positive, label)
        yield _Measure("mean_prediction", probability, everyone, label)
        yield _Measure("actual", positive.astype(np.float64), everyone, label)
        yield _Measure("calibration_error", probability - positive, everyone, label)


def _figures(measure: _Measure, codes: Codes, names: Sequence[str], units: Units) -> Iterator[Figure]:
    """Yield the figure of each group that has such rows."""
    for code, name in enumerate(names):
        chosen = (codes == code) & measure.counted
        if chosen.any():
            values, places = measure.per_row[chosen], units.codes[chosen]
            value = float(values.mean())
            influence = np.bincount(places, (values - value) / len(values), units.count).astype(np.float64)
            yield Figure(name, value, influence, len(values), len(np.unique(places)))


def _line(figure: Figure, metric: str) -> dict[str, object]:
    is_share = metric in _RATES or (metric == "actual" and 0 <= figure.value <= 1)
    half = _half_width(figure.influence, figure.units, least_error(figure.value, figure.rows) if is_share else 0.0)
    low, high = figure.value - half, figure.value + half
    if metric in _RATES:
        low, high = max(low, 0.0), min(high, 1.0)
    about = {"group": figure.group, "value": figure.value, "low": low, "high": high}
    return about | {"rows": figure.rows, "units": figure.units, "note": _note(figure.units)}


def _note(units: int) -> str:
    return f"too few units: an interval needs {FEWEST}" if units < FEWEST else ""


def _half_width(influence: Floats, count: int, floor: float = 0.0) -> float:
    """Return half the width of a 95 % interval, from the units' influences; NaN with too few units."""
    if count < FEWEST:
        return np.nan
    squares = influence**2
    total = squares.sum()
    freedom = min(count - 1, 3 * total**2 / (squares**2).sum()) if total > 0 else count - 1
    return float(stdtrit(freedom, 0.975) * max(floor, np.sqrt(total * count / (count - 1))))


def _between(by_metric: dict[str, list[Figure]]) -> Iterator[dict[str, object]]:
    """Yield the differences and ratios of a class's figures that two groups or more define."""
    defined = {metric: figures for metric, figures in by_metric.items() if len(figures) > 1}
    for metric, figures in defined.items():
        if metric in _RATES:
            yield _difference(figures) | {"metric": f"{_RATES[metric]}_difference"}
            yield _ratio(figures) | {"metric": f"{_RATES[metric]}_ratio"}
        elif metric in _ERRORS:
            yield _difference(figures) | {"metric": f"{metric}_difference"}
    if all(metric in defined for metric in _EQUALIZED_ODDS):
        pair = [defined[metric] for metric in _EQUALIZED_ODDS]
        yield max(map(_difference, pair), key=_value) | {"metric": "equalized_odds_difference"}
        yield min(map(_ratio, pair), key=lambda line: np.nan_to_num(_value(line), nan=np.inf)) | {
            "metric": "equalized_odds_ratio"
        }


def _value(line: dict[str, Any]) -> float:
    return float(line["value"])


def _difference(figures: Sequence[Figure]) -> dict[str, Any]:
    """Return the largest figure minus the smallest."""
    low, high = _extremes(figures)
    gap = high.value - low.value
    half = _half_width(high.influence - low.influence, min(low.units, high.units))
    return _gap(low, high) | {"value": gap, "low": max(gap - half, 0.0), "high": gap + half}


def _ratio(figures: Sequence[Figure]) -> dict[str, Any]:
    """Return the smallest figure by the largest; NaN if all are 0. Its interval is symmetric in the logarithm."""
    low, high = _extremes(figures)
    if low.value <= 0:
        return _gap(low, high) | {"value": 0.0 if high.value > 0 else np.nan, "low": np.nan, "high": np.nan}
    ratio = low.value / high.value
    influence = low.influence / low.value - high.influence / high.value
    factor = np.exp(_half_width(influence, min(low.units, high.units)))
    return _gap(low, high) | {"value": ratio, "low": ratio / factor, "high": min(ratio * factor, 1.0)}


def _extremes(figures: Sequence[Figure]) -> tuple[Figure, Figure]:
    return min(figures, key=lambda each: each.value), max(figures, key=lambda each: each.value)


def _gap(low: Figure, high: Figure) -> dict[str, Any]:
    units = min(low.units, high.units)
    note = "; ".join(filter(None, [f"from {low.group} to {high.group}", _note(units)]))
    return {"rows": low.rows + high.rows, "units": units, "note": note}
