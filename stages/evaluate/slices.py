"""The metric on parts of the test rows: where the model does badly."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from service.contract import Contract, Feature
from stages.evaluate.cuts import cut
from stages.partitions.executors import Spread
from stages.partitions.pieces import map_pieces
from stages.progress import track
from stages.scores.metrics import Codes, Floats, Outcome, Predicted
from stages.scores.units import FEWEST, Units, lag_correlation
from stages.stored import Table

ERROR = "mean_absolute_error"
MIN_ROWS = 30
"""A slice with fewer rows is listed, but never called worse."""
MIN_CLASS_ROWS = 10
"""Rows that each class needs before a slice has an area under its ROC curve."""
WORST = 5
_ESTIMATED = ["metric", "error", "gap_error", "freedom", "units"]
"""A metric, its standard error and that of its distance from the whole, degrees of freedom, number of units."""
_MOST_COLUMNS = 200

Estimate = tuple[float, Floats]
"""A metric and the influence of each row on it; NaN where the rows don't define them."""


@dataclass(frozen=True, slots=True)
class Measure:
    """The metric that slices are compared by."""

    name: str
    values: Floats
    """Each row's score, error, or 1 if it is right; shape (rows,)."""
    order: Codes
    """The positions of all rows, in the order that `estimate` needs."""
    positive: npt.NDArray[np.bool_] | None = None
    """Whether each row is positive, for an area; shape (rows,)."""

    @property
    def more_is_better(self) -> bool:
        """False for an error."""
        return self.name != ERROR

    def estimate(self, rows: Codes) -> Estimate:
        """Return the metric of rows whose positions are sorted as in `order`, and their influences in that order."""
        values = self.values[rows]
        return _mean(values) if self.positive is None else _area(values, self.positive[rows])


def measure(outcome: Outcome) -> Measure:
    """Return the area under the ROC curve if binary, accuracy with more classes, else the mean absolute error."""
    if isinstance(outcome, Predicted):
        errors = np.abs(outcome.y_true - outcome.y_pred)
        return Measure(ERROR, errors, np.arange(len(errors)))
    if outcome.positive is None:
        right = (outcome.y_true == outcome.y_pred).astype(np.float64)
        return Measure("accuracy", right, np.arange(len(right)))
    scores = outcome.probabilities[:, outcome.positive]
    positive = outcome.y_true == outcome.positive
    order: Codes = np.argsort(scores, kind="stable")
    return Measure("roc_auc", scores, order, positive)


def _mean(values: Floats) -> Estimate:
    if len(values) < 2:  # noqa: PLR2004  # one value has no spread
        return float(values.sum()) if len(values) else np.nan, np.full(len(values), np.nan)
    mean = float(values.mean())
    return mean, (values - mean) / len(values)


def _area(rising: Floats, positive: npt.NDArray[np.bool_]) -> Estimate:
    """Return the area under the ROC curve of sorted scores, and influences (DeLong et al. 1988)."""
    high, low = rising[positive], rising[~positive]
    if min(len(high), len(low)) < MIN_CLASS_ROWS:
        return np.nan, np.full(len(rising), np.nan)
    influence = np.empty(len(rising))
    influence[positive], influence[~positive] = _share_below(low, high), 1 - _share_below(high, low)
    area = float(influence[positive].mean())
    return area, (influence - area) / np.where(positive, len(high), len(low))


def _share_below(values: Floats, limits: Floats) -> Floats:
    """Return for each limit the share of sorted `values` below it, where equal values count half."""
    shares: Floats = (np.searchsorted(values, limits, "left") + np.searchsorted(values, limits, "right")) / (
        2 * len(values)
    )
    return shares


@dataclass(frozen=True, slots=True)
class _Tested:
    """What each column's slices are computed from."""

    measured: Measure
    whole: Estimate
    actual: Floats
    predicted: Floats
    units: Units


@dataclass(frozen=True, slots=True)
class _Cut:
    """A column that is cut into slices."""

    column: str
    codes: npt.NDArray[np.int16]
    """The slice of each row, shape (rows,)."""
    names: list[str]


def compute_slices(
    outcome: Outcome, contract: Contract, rows: Table, units: Units, spread: Spread | None = None
) -> pd.DataFrame:
    """Return one row for each value of each column, in the contract's order (its first 200 features).

    Columns: column, value, rows, the metric with its 95 % interval over `units` (`…_low`, `…_high`),
    the means of true (`actual`) and predicted values (`predicted`), `worse`: whether the slice is
    significantly worse than all rows, corrected for the number of slices, and `units`: the number
    of independent units of its rows. With fewer than 20 there is no interval, and it isn't `worse`.
    """
    measured = measure(outcome)
    tested = _Tested(measured, _whole(measured, units), *_means(outcome), units)
    features = contract.features[:_MOST_COLUMNS]
    cuts = (_cut_column(each, rows[each.name]) for each in track(features, len(features), "column"))
    parts = list(map_pieces(_compute_column, tested, cuts, spread or Spread()))
    return _flag_worse(pd.concat(parts, ignore_index=True), measured, tested.whole[0])


def _cut_column(feature: Feature, values: pd.Series) -> _Cut:
    codes, names = cut(feature, values)
    return _Cut(feature.name, codes.astype(np.int16), names)  # a column is cut into no more than 22 parts


def _compute_column(tested: _Tested, column: _Cut) -> pd.DataFrame:
    codes, names = column.codes, column.names
    sizes = np.bincount(codes, minlength=len(names))
    parts = _split(codes, sizes, tested.measured.order)
    found = [_estimate(tested.measured, tested.whole, part, tested.units) for part in parts]
    table = pd.DataFrame({"column": column.column, "value": names, "rows": sizes})
    table[_ESTIMATED] = np.asarray(found, dtype=np.float64).reshape(-1, len(_ESTIMATED))
    table["actual"] = np.bincount(codes, tested.actual, len(names)) / sizes
    table["predicted"] = np.bincount(codes, tested.predicted, len(names)) / sizes
    return table


def neighbours_correlation(outcome: Outcome, units: Units) -> float | None:
    """Return the correlation of neighbouring units' influence on the metric of all rows; None without an order."""
    return lag_correlation(_whole(measure(outcome), units)[1], units)


def _whole(measured: Measure, units: Units) -> Estimate:
    """Return the metric of all rows, and the influence of each unit on it."""
    value, influence = measured.estimate(measured.order)
    sums: Floats = np.bincount(units.codes[measured.order], influence, units.count).astype(np.float64)
    return value, sums


def _estimate(measured: Measure, whole: Estimate, rows: Codes, units: Units) -> tuple[float, ...]:
    """Return the values of `_ESTIMATED` for a slice, from sums of influences over units (Obuchowski 1997)."""
    value, influence = measured.estimate(rows)
    codes = units.codes[rows]
    count = int(np.count_nonzero(np.bincount(codes)))
    if count < FEWEST or np.isnan(value):
        return value, np.nan, np.nan, np.nan, count
    # Units such as days are in the slice and in the whole; what both have in common is no difference.
    # In place, because there may be as many units as rows.
    shared: Floats = np.bincount(codes, influence, units.count).astype(np.float64, copy=False)
    squares = shared**2
    shared -= whole[1]
    total = squares.sum()
    floor = least_error(value, len(rows)) if measured.name == "accuracy" else 0.0
    totals = total, np.square(shared, out=shared).sum()
    errors = (max(floor, np.sqrt(each * count / (count - 1))) for each in totals)
    freedom = min(count - 1, 3 * total**2 / np.square(squares, out=squares).sum()) if total > 0 else count - 1
    return value, *errors, freedom, count


def least_error(share: float, rows: int) -> float:
    """Return the standard error with two more successes and failures, so that 0 and 1 aren't certain.

    See Agresti & Coull (1998).
    """
    moderate = (share * rows + 2) / (rows + 4)
    return float(np.sqrt(moderate * (1 - moderate) / (rows + 4)))


def _split(codes: npt.NDArray[np.int16], sizes: Codes, order: Codes) -> list[Codes]:
    grouped = order[np.argsort(codes[order], kind="stable")]  # of 16 bits in linear time
    return np.split(grouped, np.cumsum(sizes)[:-1])


def _means(outcome: Outcome) -> tuple[Floats, Floats]:
    if isinstance(outcome, Predicted):
        return outcome.y_true, outcome.y_pred
    if outcome.positive is None:
        best = outcome.probabilities.max(axis=1)
        return (outcome.y_true == outcome.y_pred).astype(np.float64), best
    return (outcome.y_true == outcome.positive).astype(np.float64), outcome.probabilities[:, outcome.positive]


def _flag_worse(table: pd.DataFrame, measured: Measure, whole: float) -> pd.DataFrame:
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
    """Return up to `WORST` of the worse slices, the worst first; of slices with the same rows only one."""
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
