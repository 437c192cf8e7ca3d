"""The metric on parts of the test rows: where the model does badly."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature, NumberFeature
from stages._metrics import Classified, Codes, Floats, Predicted

MISSING = "(missing)"
ERROR = "mean_absolute_error"
MIN_ROWS = 30
"""Fewer rows are counted, and never named among the worst."""
MIN_CLASS_ROWS = 10
"""Rows that each class needs before a slice has an area under its ROC curve."""
WORST = 5
_MOST_COLUMNS = 200
_MOST_VALUES = 20
_MOST_DISTINCT = 12
_MOST_MONTHS = 24

Estimate = tuple[float, float]
"""A metric and its standard error; NaN where the rows don't define them."""


@dataclass(frozen=True, slots=True)
class Measure:
    """The metric that slices are compared by."""

    name: str
    estimate: Callable[[Codes], Estimate]
    """From places of rows, in the order of `order`, to the metric."""
    order: Codes
    """The rows' places in the order that `estimate` wants them in."""

    @property
    def more_is_better(self) -> bool:
        """False for an error."""
        return self.name != ERROR


def measure(outcome: Classified | Predicted) -> Measure:
    """Areas under the ROC curve if binary; accuracy if there are more classes; mean absolute error of values."""
    if isinstance(outcome, Predicted):
        errors = np.abs(outcome.y_true - outcome.y_pred)
        return Measure(ERROR, lambda rows: _mean(errors[rows]), np.arange(len(errors)))
    if outcome.positive is None:
        right = outcome.y_true == outcome.y_pred
        return Measure("accuracy", lambda rows: _share(right[rows]), np.arange(len(right)))
    scores = outcome.probabilities[:, outcome.positive]
    positive = outcome.y_true == outcome.positive
    order: Codes = np.argsort(scores, kind="stable")
    return Measure("roc_auc", lambda rows: _area(scores[rows], positive[rows]), order)


def _mean(values: Floats) -> Estimate:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def _share(right: npt.NDArray[np.bool_]) -> Estimate:
    # Two successes and two failures more (Agresti & Coull 1998), so that a share of 0 or 1 isn't told as certain.
    moderate = (right.sum() + 2) / (len(right) + 4)
    return float(right.mean()), float(np.sqrt(moderate * (1 - moderate) / (len(right) + 4)))


def _area(rising: Floats, positive: npt.NDArray[np.bool_]) -> Estimate:
    """Area under the ROC curve and its standard error (DeLong, DeLong & Clarke-Pearson 1988) of rising scores."""
    high, low = rising[positive], rising[~positive]
    if min(len(high), len(low)) < MIN_CLASS_ROWS:
        return np.nan, np.nan
    beats, beaten = _below(low, high), 1 - _below(high, low)
    variance = beats.var(ddof=1) / len(high) + beaten.var(ddof=1) / len(low)
    return float(beats.mean()), float(np.sqrt(variance))


def _below(of: Floats, than: Floats) -> Floats:
    """Give, for each of `than`, the share of `of` below it, equals counted half; both rise."""
    shares: Floats = (np.searchsorted(of, than, "left") + np.searchsorted(of, than, "right")) / (2 * len(of))
    return shares


def slices(outcome: Classified | Predicted, contract: Contract, rows: pd.DataFrame) -> pd.DataFrame:
    """Give one row for each value of each column, in the contract's order (its first 200 features).

    Columns: column, value, rows, the metric with its 95 % interval (`…_low`, `…_high`), the
    means of what was true (`actual`) and what was said (`predicted`), and `worse`: true where
    the slice is worse than the whole by more than chance would give in any of so many slices.
    """
    measured = measure(outcome)
    actual, predicted = _means(outcome)
    parts = []
    for feature in contract.features[:_MOST_COLUMNS]:
        codes, names = cut(feature, rows[feature.name])
        sizes = np.bincount(codes, minlength=len(names))
        found = [measured.estimate(part) for part in _split(codes, sizes, measured.order)]
        part = pd.DataFrame({"column": feature.name, "value": names, "rows": sizes})
        part[["metric", "error"]] = np.asarray(found, dtype=np.float64).reshape(-1, 2)
        part["actual"] = np.bincount(codes, actual, len(names)) / sizes
        part["predicted"] = np.bincount(codes, predicted, len(names)) / sizes
        parts.append(part)
    return _judged(pd.concat(parts, ignore_index=True), measured)


def _split(codes: Codes, sizes: Codes, order: Codes) -> list[Codes]:
    # Sorting of 16 bits takes linear time, and a column is cut into no more than 22 parts.
    grouped = order[np.argsort(codes.astype(np.int16)[order], kind="stable")]
    return np.split(grouped, np.cumsum(sizes)[:-1])


def _means(outcome: Classified | Predicted) -> tuple[Floats, Floats]:
    if isinstance(outcome, Predicted):
        return outcome.y_true, outcome.y_pred
    if outcome.positive is None:
        best = outcome.probabilities.max(axis=1)
        return (outcome.y_true == outcome.y_pred).astype(np.float64), best
    return (outcome.y_true == outcome.positive).astype(np.float64), outcome.probabilities[:, outcome.positive]


def _judged(table: pd.DataFrame, measured: Measure) -> pd.DataFrame:
    whole, _ = measured.estimate(measured.order)
    half = norm.ppf(0.975) * table["error"]
    sign = 1 if measured.more_is_better else -1
    gap = sign * (whole - table["metric"])
    # Bonferroni: among m slices chance alone makes about m / 40 look worse at 95 %.
    certain = gap > norm.ppf(1 - 0.025 / len(table)) * table["error"]
    low, high = table["metric"] - half, table["metric"] + half
    ceiling = 1.0 if measured.more_is_better else np.inf
    figures = {
        measured.name: table["metric"],
        f"{measured.name}_low": low.clip(lower=0.0),
        f"{measured.name}_high": high.clip(upper=ceiling),
        "actual": table["actual"],
        "predicted": table["predicted"],
    }
    judged = table[["column", "value", "rows"]].copy()
    for name, values in figures.items():
        judged[name] = [float(f"{value:.6g}") for value in values]
    judged["worse"] = (certain & (table["rows"] >= MIN_ROWS)).to_numpy()
    return judged


def worst(table: pd.DataFrame) -> pd.DataFrame:
    """The slices that are surely worse than the whole, the worst first, at most `WORST`; the same rows once."""
    metric = str(table.columns[3])
    found = table[table["worse"]].sort_values(metric, ascending=metric != ERROR, kind="stable")
    return found.drop_duplicates(["rows", metric, "actual", "predicted"]).head(WORST)


def told(table: pd.DataFrame) -> list[str]:
    """Give a line for each of the worst slices."""
    metric = str(table.columns[3])
    return [
        f"worse where {row['column']} is {row['value']}: {metric} {row[metric]:.3g} on {row['rows']:,} rows"
        for row in worst(table).to_dict("records")
    ]


def cut(feature: Feature, values: pd.Series) -> tuple[Codes, list[str]]:
    """Cut the rows by one column: places in the list of names, shape (rows,), and the names that occur."""
    codes, names = _cut(feature, values)
    codes[values.isna().to_numpy()] = len(names)
    names = [*names, MISSING]
    counts = np.bincount(codes, minlength=len(names))
    # The most frequent, equally frequent ones in the order of their names; what is missing is never among the others.
    frequent = np.argsort(-counts[:-1], kind="stable")
    others = [int(code) for code in frequent[_MOST_VALUES:] if counts[code]]
    if len(others) > 1:
        codes[np.isin(codes, others)] = len(names)
        names = [*names, f"({len(others)} others)"]
    present = np.bincount(codes, minlength=len(names)) > 0
    return (np.cumsum(present) - 1)[codes], [name for name, occurs in zip(names, present, strict=True) if occurs]


def _cut(feature: Feature, values: pd.Series) -> tuple[Codes, list[str]]:
    """Cut into names in their natural order; where a value is missing the place is any."""
    match feature:
        case CategoryFeature():
            codes, names = pd.factorize(values, sort=True)
            return codes, [str(name) for name in names]
        case BooleanFeature():
            return (values.to_numpy(np.float32) == 1).astype(np.intp), ["false", "true"]
        case DateFeature():
            return _periods(values.to_numpy("datetime64[us]"))
        case NumberFeature():
            return _bins(feature, values.to_numpy(np.float32))


def _periods(moments: npt.NDArray[np.datetime64]) -> tuple[Codes, list[str]]:
    months = moments.astype("datetime64[M]")
    few = len(np.unique(months[~np.isnat(months)])) <= _MOST_MONTHS
    distinct, places = np.unique(months if few else moments.astype("datetime64[Y]"), return_inverse=True)
    return places, [str(period) for period in distinct]


def _bins(feature: NumberFeature, values: npt.NDArray[np.float32]) -> tuple[Codes, list[str]]:
    places, distinct = pd.factorize(values, sort=True)
    if len(distinct) <= _MOST_DISTINCT:
        return places, [number(value) for value in distinct.tolist()]
    edges = np.asarray(feature.bin_edges, dtype=np.float32)
    # NaN sorts behind the last edge.
    return np.searchsorted(edges, values, side="left").astype(np.intp), _bin_names(feature)


def _bin_names(feature: NumberFeature) -> list[str]:
    edges = [number(edge) for edge in feature.bin_edges]
    if not edges:
        return ["any"]
    between = [f"above {low} to {high}" for low, high in pairwise(edges)]
    return [f"to {edges[0]}", *between, f"above {edges[-1]}"]


def number(value: float | np.floating[Any]) -> str:
    """Write a float32 in as few digits as tell it from others."""
    return str(np.float32(value)).removesuffix(".0")
