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
from stages.scores.metrics import Scores, main_score, outcome
from stages.scores.units import units_of


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
    contract = candidate.contract
    _check(contract, champion.model.contract, rows)
    if split is None or champion.split is None:
        raise NotComparableError("it is unknown which rows it was trained on")
    unseen = rows[unseen_rows(split, champion.split, rows)]
    scores = candidate.scores(contract.encode(unseen)), _scores(champion.model, unseen, contract)
    ours, theirs = (outcome(contract, unseen[contract.target].to_numpy(), each) for each in scores)
    points = main_score(ours), main_score(theirs)
    if points[0] is None or points[1] is None:
        raise NotComparableError(f"these rows give no {main_metric(contract.task)}")
    low, high = intervals.paired_interval(ours, theirs, units_of(split, unseen), seed)
    return Comparison(points[0], points[1], low, high, len(unseen))


def _check(ours: Contract, theirs: Contract, rows: pd.DataFrame) -> None:
    if theirs.target != ours.target:
        raise NotComparableError(f"it predicts {theirs.target!r}, this model {ours.target!r}")
    if (theirs.task == "regression", set(theirs.classes)) != (ours.task == "regression", set(ours.classes)):
        raise NotComparableError(f"it has other classes: {', '.join(map(str, theirs.classes)) or 'none'}")
    missing = [feature.name for feature in theirs.features if feature.name not in rows]
    if missing:
        raise NotComparableError(f"the test rows have no column {missing[0]!r}, which it needs")


def _scores(champion: Model, rows: pd.DataFrame, contract: Contract) -> Scores:
    """Return the champion's scores, with its classes in the candidate's order."""
    try:
        scores: Scores = champion.scores(champion.contract.encode(rows))
    except (ValueError, TypeError) as error:
        raise NotComparableError(f"it cannot read the test rows: {error}") from None
    if not contract.classes:
        return scores
    return scores[:, [champion.contract.classes.index(label) for label in contract.classes]]
