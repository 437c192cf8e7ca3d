"""How often prediction intervals or sets contain the truth in the test rows: altogether, over time and by class."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from service.contract import class_name
from service.coverage import LevelError, find_inside
from service.model import Model
from stages.params.params import Params
from stages.schema import Split
from stages.scores.intervals import share_interval
from stages.scores.metrics import Classified, Codes, Floats, Outcome, Scores
from stages.scores.units import Units, compress, cut_periods
from stages.stored import Table

ALL = "all rows"
COLUMNS = ["part", "by", "level", "rows", "coverage", "coverage_low", "coverage_high", "size"]
"""`part` is a period's first moment, a class, a range of predictions, or `ALL`; `by` is time, class, prediction or
empty; `size` is the mean width of the intervals, or the mean number of labels in the sets."""
_CALENDAR = "MWDh"
"""NumPy's units: month, week, day and hour."""
_FEWEST_PERIODS = 3
_MOST_PERIODS = 24
_TENTHS = 10
_MOST_CLASSES = 30

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the rows."""

    name: str
    """The value of `part`."""
    by: str
    codes: Codes
    """Shape (rows,)."""
    code: int
    """Of the rows that belong to it."""

    @property
    def here(self) -> Flags:
        """Which rows belong to it; made anew, because there may be many parts."""
        here: Flags = self.codes == self.code
        return here


Parts = Sequence[Part]


@dataclass(frozen=True, slots=True)
class Tested:
    """The intervals or sets of the test rows at one level."""

    level: float
    covered: Flags
    """Whether each contains the truth, shape (rows,)."""
    sizes: Floats
    """The width of each interval or the number of labels in each set, shape (rows,)."""
    is_set: bool


def apply_levels(model: Model, scores: Scores, scored: Outcome) -> list[Tested]:
    """Return what the service would answer at each level of `evaluate.coverage`; a level that is too high is left out.

    `scores` are those of `scored`, as the model gives them.
    """
    found = []
    for level in model.coverage.levels if model.coverage else ():
        with contextlib.suppress(LevelError):
            bound = model.coverage.bound(level)  # type: ignore[union-attr]  # as the line above says
            found.append(Tested(level, *_compare(scores, scored, bound), is_set=isinstance(scored, Classified)))
    return found


def _compare(scores: Scores, scored: Outcome, bound: float) -> tuple[Flags, Floats]:
    """Return whether each row's interval or set contains the truth, and its size."""
    if not isinstance(scored, Classified):
        return np.abs(scored.y_true - scored.y_pred) <= bound, np.full(len(scored.y_true), 2 * bound)
    inside = find_inside(scores, bound)
    known = scored.y_true < inside.shape[1]  # no set has a class that isn't in training
    covered = np.take_along_axis(inside, np.where(known, scored.y_true, 0)[:, None], axis=1)[:, 0] & known
    return covered, inside.sum(axis=1).astype(np.float64)


def describe_coverage(
    levels: list[Tested], parts: Parts, units: Units, seed: int
) -> tuple[dict[str, float], pd.DataFrame]:
    """Return metrics of all rows, and a table with `COLUMNS` of all rows and of `parts`.

    For the level 0.9 the metrics are `coverage_90`, with its 95 % interval over the units, and `interval_width_90`, or
    `set_size_90` and the share of empty sets, `empty_sets_90`.
    """
    metrics, lines = dict[str, float](), list[dict[str, object]]()
    for tested in levels:
        whole = _describe(tested, np.ones(len(tested.covered), np.bool_), units, seed)
        metrics |= _metrics(tested, whole)
        lines.append({"part": ALL, "by": "", "level": tested.level} | whole)
        lines += [
            {"part": part.name, "by": part.by, "level": tested.level} | _describe(tested, part.here, units, seed)
            for part in parts
        ]
    return metrics, pd.DataFrame(lines, columns=COLUMNS)


def describe_levels(metrics: dict[str, float], model: Model, params: Params, split: Split) -> Iterator[str]:
    """Yield a sentence about the coverage at each wanted level."""
    for level in params.evaluate.coverage_levels:
        found, about = metrics.get(f"coverage_{_name(level)}"), model.coverage
        if about is None:
            yield f"no coverage at {level}: there are no out-of-fold predictions; set evaluate.folds, or add rows"
        elif found is None:
            yield f"no coverage at {level}: {about.units:,} units of training rows allow {about.limit}"
        else:
            time = "; over time, exchangeable rows are an assumption" if split.method == "time" else ""
            kind = "sets" if model.contract.classes else "intervals"
            yield f"{kind} at {level} contain the truth in {found:.3f} of the test rows{time}"


def _name(level: float) -> str:
    return f"{100 * level:.12g}"


def _metrics(tested: Tested, whole: dict[str, float]) -> dict[str, float]:
    name = _name(tested.level)
    found = {f"coverage_{name}{end}": whole[f"coverage{end}"] for end in ("", "_low", "_high")}
    if tested.is_set:
        return found | {f"set_size_{name}": whole["size"], f"empty_sets_{name}": float((tested.sizes == 0).mean())}
    return found | {f"interval_width_{name}": whole["size"]}


def _describe(tested: Tested, here: Flags, units: Units, seed: int) -> dict[str, float]:
    own = Units(units.name, compress(units.codes[here]))
    low, high = (np.nan, np.nan) if own.too_few else share_interval(tested.covered[here], own, seed)
    return {
        "rows": int(here.sum()),
        "coverage": float(tested.covered[here].mean()),
        "coverage_low": low,
        "coverage_high": high,
        "size": float(tested.sizes[here].mean()),
    }


def find_parts(scored: Outcome, split: Split, rows: Table) -> Parts:
    """Return the rows of each period in a split by time, and of each class or each tenth by the prediction."""
    return [*_periods(split, rows), *_by_outcome(scored)]


def _by_outcome(scored: Outcome) -> Parts:
    if isinstance(scored, Classified):
        counts = np.bincount(scored.y_true)
        often = np.argsort(-counts, kind="stable")[:_MOST_CLASSES]
        return [Part(class_name(scored.labels[each]), "class", scored.y_true, each) for each in often if counts[each]]
    return _tenths(scored.y_pred, "prediction")


def _tenths(values: Floats, by: str) -> Parts:
    edges = np.unique(np.quantile(values, np.arange(1, _TENTHS) / _TENTHS))
    places: Codes = np.searchsorted(edges, values, side="left")
    return [Part(f"from {values[places == place].min():.6g}", by, places, place) for place in np.unique(places)]


def _periods(split: Split, rows: Table) -> Parts:
    """Return the rows of each month, week, day or hour, the longest of which there are enough, in a split by time."""
    if split.method != "time" or split.column not in rows:
        return []
    column = rows[str(split.column)]
    if types.is_numeric_dtype(column.dtype):
        return _tenths(column.to_numpy(np.float64), "time")
    moments = pd.to_datetime(column, format="ISO8601", utc=True).dt.tz_convert(None).to_numpy("datetime64[us]")
    found = [cut_periods(moments, unit) for unit in _CALENDAR]
    places, periods = next((each for each in found if len(each[1]) >= _FEWEST_PERIODS), found[-1])
    last = range(len(periods))[-_MOST_PERIODS:]
    return [Part(str(periods[each]), "time", places, each) for each in last]
