"""Compare a candidate with an earlier model, on rows that neither was trained on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from service.contract import Contract
from service.model import Model
from stages.errors import NotComparableError
from stages.prepare.split import unseen_rows
from stages.schema import Split
from stages.scores import intervals
from stages.scores.gate import DIGITS, main_metric
from stages.scores.metrics import Outcome, Scores, main_score, outcome
from stages.scores.units import Units, units_of


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier model that a candidate is compared with."""

    folder: str
    """The folder of its release."""
    model: Model
    split: Split | None
    """Which rows it was trained on; None if this is unknown."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Main metrics on the same rows; `low` and `high` are the 95 % interval of candidate minus champion.

    Both are NaN if the rows have too few independent units for an interval.
    """

    candidate: float
    champion: float
    low: float
    high: float
    rows: int

    @property
    def difference(self) -> float:
        """Positive if the candidate is better; rounded like the metrics, to compare it with a tolerance."""
        return round(self.candidate - self.champion, DIGITS)

    def describe(self, folder: str) -> str:
        """Describe how the candidate compares with the release in `folder`."""
        interval = f"difference {self.low:+.4f} to {self.high:+.4f}"
        if np.isnan(self.low):
            interval = "too few independent units for an interval"
        return (
            f"{self.candidate:.4f} against {self.champion:.4f} of release {folder} on the same {self.rows:,} rows "
            f"({interval})"
        )


def compare(candidate: Model, split: Split | None, champion: Earlier, rows: pd.DataFrame, seed: int) -> Comparison:
    """Score both models on those of the candidate's test rows that the champion was not trained on.

    `split` is the rule that made the candidate's test rows. Raises NotComparableError if a model's
    split is unknown, if the champion has another target or task, or if it cannot score the rows.
    """
    both = score_both(candidate, split, champion, rows)
    points = main_score(both.ours), main_score(both.theirs)
    if points[0] is None or points[1] is None:
        raise NotComparableError(f"these rows give no {main_metric(candidate.contract.task)}")
    low, high = intervals.paired_interval(both.ours, both.theirs, both.units, seed)
    return Comparison(points[0], points[1], low, high, len(both.rows))


@dataclass(frozen=True, slots=True)
class Both:
    """Two models' outcomes on the same rows."""

    ours: Outcome
    theirs: Outcome
    rows: pd.DataFrame
    units: Units


def score_both(
    candidate: Model,
    split: Split | None,
    champion: Earlier,
    rows: pd.DataFrame,
    thresholds: tuple[float, float] = (0.5, 0.5),
) -> Both:
    """Score both models on those of the candidate's test rows that the champion was not trained on.

    `thresholds` are the candidate's and the champion's. Raises NotComparableError as `compare`.
    """
    contract = candidate.contract
    _check(contract, champion.model.contract, rows)
    if split is None or champion.split is None:
        raise NotComparableError("it is unknown which rows it was trained on")
    unseen = rows[unseen_rows(split, champion.split, rows)]
    truth = unseen[contract.target].to_numpy()
    scores = candidate.scores(contract.encode(unseen))
    theirs = _scores(champion.model, unseen)
    labels = [
        model.labels(each, threshold) if contract.classes else ()
        for model, each, threshold in zip((candidate, champion.model), (scores, theirs), thresholds, strict=True)
    ]
    if contract.classes:
        theirs = theirs[:, [champion.model.contract.classes.index(label) for label in contract.classes]]
    ours, earlier = (outcome(contract, truth, *each) for each in zip((scores, theirs), labels, strict=True))
    return Both(ours, earlier, unseen, units_of(split, unseen))


def _check(ours: Contract, theirs: Contract, rows: pd.DataFrame) -> None:
    if theirs.target != ours.target:
        raise NotComparableError(f"it predicts {theirs.target!r}, this model {ours.target!r}")
    if (theirs.task == "regression", set(theirs.classes)) != (ours.task == "regression", set(ours.classes)):
        raise NotComparableError(f"it has other classes: {', '.join(map(str, theirs.classes)) or 'none'}")
    missing = [feature.name for feature in theirs.features if feature.name not in rows]
    if missing:
        raise NotComparableError(f"the test rows have no column {missing[0]!r}, which it needs")


def _scores(champion: Model, rows: pd.DataFrame) -> Scores:
    try:
        scores: Scores = champion.scores(champion.contract.encode(rows))
    except (ValueError, TypeError) as error:
        raise NotComparableError(f"it cannot read the test rows: {error}") from None
    return scores
