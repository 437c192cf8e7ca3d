"""What differs between two models: metrics on the same rows with paired intervals, curves, slices, parameters."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from service.shapley import NoBackgroundError
from stages.evaluate.contributions import explain_rows
from stages.evaluate.plots import plots
from stages.evaluate.slices import compute_slices
from stages.evaluate.threshold import DEFAULT
from stages.params.dotted import dotted
from stages.releases.candidates import Candidate
from stages.releases.champion import Both, Earlier, score_both
from stages.scores.gate import main_metric
from stages.scores.intervals import paired_differences
from stages.scores.metrics import Classified, is_loss, score

NAMES = ("A", "B")
_DRAWN = ("roc", "precision_recall", "calibration", "thresholds", "lift")
_NO_IMPORTANCE = pd.DataFrame({"feature": [], "importance": []})
_MOST_SLICES = 12
_MIN_ROWS = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of both models on the same rows; `low` and `high` are the 95 % interval of B minus A, or None."""

    name: str
    first: float
    second: float
    low: float | None
    high: float | None

    @property
    def value(self) -> float:
        """B minus A."""
        return self.second - self.first

    @property
    def verdict(self) -> str:
        """Return which model is better by this metric, if that is certain."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return ""
        return NAMES[int((self.value > 0) != is_loss(self.name))]


@dataclass(frozen=True, slots=True)
class Compared:
    """Two models on the same rows."""

    rows: int
    unit: str
    units: int
    metrics: list[Difference]
    """The main metric comes first."""
    tables: dict[str, pd.DataFrame]
    """As in metrics/plots, with the models in the column `class`."""
    contributions: pd.DataFrame
    """Columns: feature, A, B; empty if a model's file has no background rows."""
    slices: pd.DataFrame
    """Columns: column, value, rows, A, B, difference; where the models differ most."""
    changed_rows: float | None
    """Share of the rows with another label; None for a regression."""
    params: list[tuple[str, str, str]]
    """Parameters that differ, with both values."""


def compare(first: Candidate, second: Candidate, seed: int) -> Compared:
    """Score both models on the test rows of `second` that `first` was not trained on.

    Raises NotComparableError if that isn't possible.
    """
    thresholds = _threshold(second), _threshold(first)
    earlier = Earlier(first.source, first.model, first.split)
    both = score_both(second.model, second.split, earlier, second.read_test_rows(), thresholds)
    changed = None
    if isinstance(both.ours, Classified) and isinstance(both.theirs, Classified):
        changed = float((both.ours.y_pred != both.theirs.y_pred).mean())
    return Compared(
        len(both.rows),
        both.units.name,
        both.units.count,
        list(_differences(both, second.model.contract.task, seed)),
        _tables(both),
        _contributions(first, second, both.rows),
        _slices(both, second),
        changed,
        changed_params(first.record.params, second.record.params),
    )


def _threshold(candidate: Candidate) -> float:
    return float(candidate.record.metrics.get("threshold") or DEFAULT)


def _differences(both: Both, task: str, seed: int) -> Iterator[Difference]:
    first, second = score(both.theirs), score(both.ours)
    intervals = paired_differences(both.ours, both.theirs, both.units, seed)
    main = main_metric(task)
    for name in sorted(set(first) & set(second), key=lambda name: (name != main, name)):
        bounds = intervals.get(name, (np.nan, np.nan))
        known = not np.isnan(bounds[0])
        yield Difference(name, first[name], second[name], bounds[0] if known else None, bounds[1] if known else None)


def _tables(both: Both) -> dict[str, pd.DataFrame]:
    """Return the curves of both models; with more than two classes, those of the most frequent class."""
    sides = [plots(each, _NO_IMPORTANCE) for each in (both.theirs, both.ours)]
    found = {}
    for name in _DRAWN:
        parts = []
        for label, tables in zip(NAMES, sides, strict=True):
            table = tables[name]
            if name == "thresholds":
                shown = table[table["class"] != "called positive"]
                parts.append(shown.assign(**{"class": shown["class"].astype("str") + f", {label}"}))
            elif len(table):
                parts.append(table[table["class"] == table["class"].iloc[0]].assign(**{"class": label}))
        found[name] = pd.concat(parts) if parts else pd.DataFrame()
    return found


def _contributions(first: Candidate, second: Candidate, rows: pd.DataFrame) -> pd.DataFrame:
    try:
        means = [
            explain_rows(each.model, rows, _threshold(each)).means().set_index("feature")["contribution"]
            for each in (first, second)
        ]
    except NoBackgroundError:  # a file of an older version
        return pd.DataFrame(columns=["feature", *NAMES])
    table = pd.concat(means, axis=1, keys=NAMES).fillna(0.0)
    table = table.loc[table.max(axis=1).sort_values(ascending=False, kind="stable").index]
    return table.rename_axis("feature").reset_index()


def _slices(both: Both, second: Candidate) -> pd.DataFrame:
    """Return the slices in which the models differ most, of those with enough rows."""
    contract, keys = second.model.contract, ["column", "value", "rows"]
    sides = [compute_slices(each, contract, both.rows, both.units) for each in (both.theirs, both.ours)]
    metric = str(sides[0].columns[3])
    table = sides[0][keys].assign(A=sides[0][metric], B=sides[1][metric])
    table["difference"] = table["B"] - table["A"]
    known = table[(table["rows"] >= min(_MIN_ROWS, len(both.rows) // 10))].dropna(subset=["difference"])
    order = known["difference"].abs().sort_values(ascending=False, kind="stable").index
    return known.loc[order].head(_MOST_SLICES).assign(metric=metric)


def changed_params(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the parameters that differ with both values, with dotted names for those in sections."""
    flat = [{name: value for name, value in dotted(each) if value != {}} for each in (first, second)]
    names = list(dict.fromkeys([*flat[0], *flat[1]]))
    texts = [{name: json.dumps(each.get(name), ensure_ascii=False) for name in names} for each in flat]
    return [(name, texts[0][name], texts[1][name]) for name in names if texts[0][name] != texts[1][name]]
