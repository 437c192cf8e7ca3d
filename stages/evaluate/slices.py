"""The metric on parts of the test rows: where the model does badly."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature, NumberFeature
from stages.scores.metrics import Codes, Floats, Outcome, Predicted
from stages.scores.units import FEWEST, Units, lag_correlation

MISSING = "(missing)"
ERROR = "mean_absolute_error"
MIN_ROWS = 30
"""Fewer rows are counted, and never named among the worst."""
MIN_CLASS_ROWS = 10
"""Rows that each class needs before a slice has an area under its ROC curve."""
WORST = 5
_ESTIMATED = ["metric", "error", "gap_error", "freedom", "units"]
"""A metric, its standard error and that of its distance from the whole, degrees of freedom, number of units."""
_MOST_COLUMNS = 200
_MOST_VALUES = 20
_MOST_DISTINCT = 12
_MOST_MONTHS = 24

Estimate = tuple[float, Floats]
"""A metric and the influence of each row on it; NaN where the rows don't define them."""


@dataclass(frozen=True, slots=True)
class Measure:
    """The metric that slices are compared by."""

    name: str
    estimate: Callable[[Codes], Estimate]
    """From places of rows, in the order of `order`, to the metric and the rows' influences in that order."""
    order: Codes
    """The rows' places in the order that `estimate` wants them in."""

    @property
    def more_is_better(self) -> bool:
        """False for an error."""
        return self.name != ERROR


def measure(outcome: Outcome) -> Measure:
    """Areas under the ROC curve if binary; accuracy if there are more classes; mean absolute error of values."""
    if isinstance(outcome, Predicted):
        errors = np.abs(outcome.y_true - outcome.y_pred)
        return Measure(ERROR, lambda rows: _mean(errors[rows]), np.arange(len(errors)))
    if outcome.positive is None:
        right = (outcome.y_true == outcome.y_pred).astype(np.float64)
        return Measure("accuracy", lambda rows: _mean(right[rows]), np.arange(len(right)))
    scores = outcome.probabilities[:, outcome.positive]
    positive = outcome.y_true == outcome.positive
    order: Codes = np.argsort(scores, kind="stable")
    return Measure("roc_auc", lambda rows: _area(scores[rows], positive[rows]), order)


def _mean(values: Floats) -> Estimate:
    if len(values) < 2:  # noqa: PLR2004  # one value has no spread
        return float(values.sum()) if len(values) else np.nan, np.full(len(values), np.nan)
    mean = float(values.mean())
    return mean, (values - mean) / len(values)


def _area(rising: Floats, positive: npt.NDArray[np.bool_]) -> Estimate:
    """Area under the ROC curve of rising scores, and influences (DeLong, DeLong & Clarke-Pearson 1988)."""
    high, low = rising[positive], rising[~positive]
    if min(len(high), len(low)) < MIN_CLASS_ROWS:
        return np.nan, np.full(len(rising), np.nan)
    influence = np.empty(len(rising))
    influence[positive], influence[~positive] = _below(low, high), 1 - _below(high, low)
    area = float(influence[positive].mean())
    return area, (influence - area) / np.where(positive, len(high), len(low))


def _below(of: Floats, than: Floats) -> Floats:
    """Give, for each of `than`, the share of `of` below it, equals counted half; both rise."""
    shares: Floats = (np.searchsorted(of, than, "left") + np.searchsorted(of, than, "right")) / (2 * len(of))
    return shares


def compute_slices(outcome: Outcome, contract: Contract, rows: pd.DataFrame, units: Units) -> pd.DataFrame:
    """Give one row for each value of each column, in the contract's order (its first 200 features).

    Columns: column, value, rows, the metric with its 95 % interval over `units` (`…_low`, `…_high`),
    the means of what was true (`actual`) and what was said (`predicted`), `worse`: true where
    the slice is worse than the whole by more than chance would give in any of so many slices,
    and `units`: how many independent units hold its rows. With fewer than 20 there is no
    interval, and no slice is called worse.
    """
    measured = measure(outcome)
    actual, predicted = _means(outcome)
    whole = _whole(measured, units)
    parts = []
    for feature in contract.features[:_MOST_COLUMNS]:
        codes, names = cut(feature, rows[feature.name])
        sizes = np.bincount(codes, minlength=len(names))
        found = [_estimate(measured, whole, part, units) for part in _split(codes, sizes, measured.order)]
        part = pd.DataFrame({"column": feature.name, "value": names, "rows": sizes})
        part[_ESTIMATED] = np.asarray(found, dtype=np.float64).reshape(-1, len(_ESTIMATED))
        part["actual"] = np.bincount(codes, actual, len(names)) / sizes
        part["predicted"] = np.bincount(codes, predicted, len(names)) / sizes
        parts.append(part)
    return _judged(pd.concat(parts, ignore_index=True), measured, whole[0])


def neighbours_correlation(outcome: Outcome, units: Units) -> float | None:
    """Return how alike neighbouring units are in their influence on the metric of all rows; None without an order."""
    return lag_correlation(_whole(measure(outcome), units)[1], units)


def _whole(measured: Measure, units: Units) -> Estimate:
    """Give the metric of all rows, and the influence of each unit on it."""
    value, influence = measured.estimate(measured.order)
    sums: Floats = np.bincount(units.codes[measured.order], influence, units.count).astype(np.float64)
    return value, sums


def _estimate(measured: Measure, whole: Estimate, rows: Codes, units: Units) -> tuple[float, ...]:
    """Give the values of `_ESTIMATED` for a slice, by sums of influences over units (Obuchowski 1997)."""
    value, influence = measured.estimate(rows)
    codes = units.codes[rows]
    sums = np.bincount(codes, influence, units.count)
    count = int(np.count_nonzero(np.bincount(codes)))
    if count < FEWEST or np.isnan(value):
        return value, np.nan, np.nan, np.nan, count
    # The same days, say, are in the slice and in the whole: what they share is no difference.
    squares, shared = sums**2, (sums - whole[1]) ** 2
    floor = _least_error(value, len(rows)) if measured.name == "accuracy" else 0.0
    errors = (max(floor, np.sqrt(each.sum() * count / (count - 1))) for each in (squares, shared))
    total = squares.sum()
    freedom = min(count - 1, 3 * total**2 / (squares**2).sum()) if total > 0 else count - 1
    return value, *errors, freedom, count


def _least_error(share: float, rows: int) -> float:
    """Give the standard error with two successes and two failures more: a share of 0 or 1 isn't certain.

    Agresti & Coull (1998).
    """
    moderate = (share * rows + 2) / (rows + 4)
    return float(np.sqrt(moderate * (1 - moderate) / (rows + 4)))


def _split(codes: Codes, sizes: Codes, order: Codes) -> list[Codes]:
    # Sorting of 16 bits takes linear time, and a column is cut into no more than 22 parts.
    grouped = order[np.argsort(codes.astype(np.int16)[order], kind="stable")]
    return np.split(grouped, np.cumsum(sizes)[:-1])


def _means(outcome: Outcome) -> tuple[Floats, Floats]:
    if isinstance(outcome, Predicted):
        return outcome.y_true, outcome.y_pred
    if outcome.positive is None:
        best = outcome.probabilities.max(axis=1)
        return (outcome.y_true == outcome.y_pred).astype(np.float64), best
    return (outcome.y_true == outcome.positive).astype(np.float64), outcome.probabilities[:, outcome.positive]


def _judged(table: pd.DataFrame, measured: Measure, whole: float) -> pd.DataFrame:
    half = stdtrit(table["freedom"], 0.975) * table["error"]
    gap = (whole - table["metric"]) * (1 if measured.more_is_better else -1)
    # Bonferroni: among m slices chance alone makes about m / 40 look worse at 95 %.
    certain = gap > stdtrit(table["freedom"], 1 - 0.025 / len(table)) * table["gap_error"]
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
    judged["units"] = table["units"].astype(int)
    return judged


def worst(table: pd.DataFrame) -> pd.DataFrame:
    """The slices that are surely worse than the whole, the worst first, at most `WORST`; the same rows once."""
    metric = str(table.columns[3])
    found = table[table["worse"]].sort_values(metric, ascending=metric != ERROR, kind="stable")
    return found.drop_duplicates(["rows", metric, "actual", "predicted"]).head(WORST)


def describe_worst(table: pd.DataFrame) -> list[str]:
    """Return a line for each of the worst slices."""
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
