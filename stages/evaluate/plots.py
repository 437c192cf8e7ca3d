"""The tables behind ``dvc plots show``: small, with the same files and columns for every task.

A plot that a task doesn't have gets a file with only the header: DVC fails if a file is
missing, and skips an empty table.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from stages.estimators.rounds import Point
from stages.evaluate import coverage, decisions, interactions
from stages.evaluate.contributions import Contributions
from stages.params.choice import Candidate
from stages.scores.calibration import reliability
from stages.scores.costs import PER
from stages.scores.metrics import Classified, Floats, Outcome, Predicted

COLUMNS = {
    "confusion": ["actual", "predicted", "rows"],
    "roc": ["fpr", "tpr", "class"],
    "precision_recall": ["recall", "precision", "class"],
    "calibration": ["predicted", "actual", "class"],
    "scores": ["score", "rows", "class"],
    "residuals": ["predicted", "residual"],
    "predicted_actual": ["predicted", "actual"],
    "importance": ["feature", "importance"],
    "contributions": ["feature", "contribution"],
    "candidates": ["candidate", "score", "deviation", "weight"],
    "dependence": ["share", "contribution", "class", "value"],
    "coverage": coverage.COLUMNS,
    "thresholds": ["threshold", "share", "class"],
    "costs": ["threshold", "cost", "class"],
    "lift": ["share", "lift", "class"],
    "interactions": interactions.COLUMNS,
    "rounds": ["round", "loss", "class"],
}
"""The columns of metrics/plots/NAME.csv."""
MOST_POINTS = 1_000
_MOST_CURVES = 8
_MOST_CLASSES = 30
_MOST_FEATURES = 30
_BARS = 40
_OTHERS = "(others)"

Flags = npt.NDArray[np.bool_]


def plots(
    outcome: Outcome, importance: pd.DataFrame, covered: pd.DataFrame | None = None, costs: Floats | None = None
) -> dict[str, pd.DataFrame]:
    """Return the tables of `COLUMNS`: at most `MOST_POINTS` rows, numbers rounded to six significant digits.

    `costs` is a matrix by true and predicted class.
    """
    drawn = _of_classes(outcome) if isinstance(outcome, Classified) else _of_values(outcome)
    drawn["importance"] = importance.head(_MOST_FEATURES)
    drawn |= {} if covered is None else {"coverage": covered}
    if isinstance(outcome, Classified) and 0 < np.count_nonzero(outcome.y_true == outcome.positive) < len(
        outcome.y_true
    ):
        drawn |= {"thresholds": decisions.at_thresholds(outcome), "lift": decisions.lift(outcome)}
        drawn |= {} if costs is None else {"costs": decisions.cost_at_thresholds(outcome, costs, PER)}
    return {name: _tidy(drawn.get(name), columns) for name, columns in COLUMNS.items()}


def plot_contributions(contributions: Contributions, together: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of contributions and interactions by name."""
    means = contributions.means().head(_MOST_FEATURES)
    found = {"contributions": means, "dependence": contributions.dependence(), "interactions": together}
    return {name: _tidy(None if table.empty else table, COLUMNS[name]) for name, table in found.items()}


def plot_candidates(candidates: Sequence[Candidate]) -> dict[str, pd.DataFrame]:
    """Return the table of what `model: auto` tried, by name."""
    rows = [(each.name, each.score, each.deviation, each.weight) for each in candidates]
    columns = COLUMNS["candidates"]
    return {"candidates": _tidy(pd.DataFrame(rows, columns=columns) if rows else None, columns)}


def plot_rounds(rounds: Sequence[Point]) -> dict[str, pd.DataFrame]:
    """Return the table of the learning curve, by name."""
    sides = enumerate(("rows that were fitted", "held-out rows"), 1)
    rows = [(point[0], point[place], side) for place, side in sides for point in rounds]
    columns = COLUMNS["rounds"]
    return {"rounds": _tidy(pd.DataFrame(rows, columns=columns) if rows else None, columns)}


def uncalibrated_curves(before: Classified) -> pd.DataFrame:
    """Return the reliability curves before the calibration, as rows for the table `calibration`."""
    curves = _tidy(_of_classes(before).get("calibration"), COLUMNS["calibration"])
    return curves.assign(**{"class": curves["class"].astype("str") + ", uncalibrated"})


def _tidy(table: pd.DataFrame | None, columns: list[str]) -> pd.DataFrame:
    if table is None:
        return pd.DataFrame(columns=columns)
    rounded = table.loc[:, columns].reset_index(drop=True)
    for name in columns:
        if pd.api.types.is_float_dtype(rounded[name].dtype):
            rounded[name] = [float(f"{value:.6g}") for value in rounded[name]]
        elif not pd.api.types.is_numeric_dtype(rounded[name].dtype):
            rounded[name] = [_plain(str(text)) for text in rounded[name]]
    return rounded


def _plain(text: str) -> str:
    """Replace angle brackets, which could end the script element that DVC writes names into, and unprintable text."""
    return "".join(sign if sign.isprintable() else " " for sign in text).replace("<", "‹").replace(">", "›")


def _of_classes(outcome: Classified) -> dict[str, pd.DataFrame]:
    drawn = {"confusion": _confusion(outcome), "scores": _score_histogram(outcome)}
    tested = np.bincount(outcome.y_true, minlength=len(outcome.labels))
    curves = [label for label in _frequent(outcome, outcome.ranked)[:_MOST_CURVES] if 0 < tested[label] < tested.sum()]
    for name, draw in (("roc", _roc), ("precision_recall", _precision_recall), ("calibration", _calibration)):
        parts = [draw(*_scores_of(outcome, each)).assign(**{"class": _name(outcome, each)}) for each in curves]
        if parts:
            drawn[name] = pd.concat(_thin(part, MOST_POINTS // (len(curves) + 1)) for part in parts)
    return drawn


def _of_values(outcome: Predicted) -> dict[str, pd.DataFrame]:
    shown = np.unique(np.linspace(0, len(outcome.y_true) - 1, MOST_POINTS).astype(int))
    predicted, actual = outcome.y_pred[shown], outcome.y_true[shown]
    both = np.concatenate([outcome.y_true, outcome.y_pred])
    limits = (float(both.min()), float(both.max()))
    return {
        "residuals": pd.DataFrame({"predicted": predicted, "residual": actual - predicted}),
        "predicted_actual": pd.DataFrame({"predicted": predicted, "actual": actual}),
        "calibration": _calibration(outcome.y_pred, outcome.y_true).assign(**{"class": "mean"}),
        "scores": pd.concat(
            [_histogram(outcome.y_true, limits, "actual"), _histogram(outcome.y_pred, limits, "predicted")]
        ),
    }


def _name(outcome: Classified, label: int) -> str:
    return str(outcome.labels[label])


def _frequent(outcome: Classified, labels: Sequence[int]) -> list[int]:
    counts = np.bincount(outcome.y_true, minlength=len(outcome.labels))
    return sorted(labels, key=lambda label: (-counts[label], label))


def _scores_of(outcome: Classified, label: int) -> tuple[Floats, Flags]:
    return outcome.probabilities[:, label], outcome.y_true == label


def _thin(curve: pd.DataFrame, points: int) -> pd.DataFrame:
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, points).astype(int))]


def _confusion(outcome: Classified) -> pd.DataFrame:
    shown = _frequent(outcome, range(len(outcome.labels)))
    kept = set(shown if len(shown) <= _MOST_CLASSES + 1 else shown[:_MOST_CLASSES])
    names = [_name(outcome, label) if label in kept else _OTHERS for label in range(len(outcome.labels))]
    every, places = np.unique(names, return_inverse=True)
    cells = places[outcome.y_true] * len(every) + places[outcome.y_pred]
    counts = np.bincount(cells, minlength=len(every) ** 2)
    return pd.DataFrame(
        {"actual": np.repeat(every, len(every)), "predicted": np.tile(every, len(every)), "rows": counts}
    )


def _roc(scores: Floats, positive: Flags) -> pd.DataFrame:
    fpr, tpr, _ = roc_curve(positive, scores)
    return pd.DataFrame({"fpr": fpr, "tpr": tpr})


def _precision_recall(scores: Floats, positive: Flags) -> pd.DataFrame:
    precision, recall, _ = precision_recall_curve(positive, scores)
    return pd.DataFrame({"recall": recall[::-1], "precision": precision[::-1]})


def _calibration(predicted: Floats, actual: Flags | Floats) -> pd.DataFrame:
    bins = reliability(predicted, actual.astype(np.float64))
    return pd.DataFrame({"predicted": bins.predicted, "actual": bins.actual})


def _score_histogram(outcome: Classified) -> pd.DataFrame:
    """Return the positive class's probability by true class; with more classes the highest one, by right and wrong."""
    if outcome.positive is None:
        scores, sides = outcome.probabilities.max(axis=1), outcome.y_true == outcome.y_pred
        names = ("right", "wrong")
    else:
        scores, sides = _scores_of(outcome, outcome.positive)
        other = [label for label in outcome.labels if label != outcome.labels[outcome.positive]]
        names = (_name(outcome, outcome.positive), str(other[0]) if len(other) == 1 else "others")
    yes, no = (
        _histogram(part, (0.0, 1.0), name) for part, name in zip((scores[sides], scores[~sides]), names, strict=True)
    )
    return pd.concat([yes, no])


def _histogram(values: Floats, limits: tuple[float, float], name: str) -> pd.DataFrame:
    counts, edges = np.histogram(values, bins=_BARS, range=limits)
    return pd.DataFrame({"score": (edges[:-1] + edges[1:]) / 2, "rows": counts, "class": name})
