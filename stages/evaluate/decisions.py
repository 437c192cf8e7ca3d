"""What a binary model's decisions would be at other thresholds, and how many of the positive rows come first."""

import numpy as np
import pandas as pd

from stages.scores.metrics import Classified, Floats

_THRESHOLDS = np.linspace(0, 1, 101)
_SHARES = np.linspace(0.02, 1, 50)


def at_thresholds(outcome: Classified) -> pd.DataFrame:
    """Return `threshold`, `share` and `class`: the recall, the precision, and the share of rows called positive."""
    found, alarms, positives, rows = _above(outcome)
    called = found + alarms
    precision = np.divide(found, called, out=np.full(len(called), np.nan), where=called > 0)
    curves = {"recall": found / max(positives, 1), "precision": precision, "called positive": called / rows}
    parts = [pd.DataFrame({"threshold": _THRESHOLDS, "share": each, "class": name}) for name, each in curves.items()]
    return pd.concat(parts).dropna()


def cost_at_thresholds(outcome: Classified, matrix: Floats, per: int) -> pd.DataFrame:
    """Return `threshold`, `cost` of `per` rows, and `class`, which is "cost"; `matrix` is by true, predicted class."""
    found, alarms, positives, rows = _above(outcome)
    yes = outcome.ranked[0]
    no = 1 - yes
    missed, right = positives - found, rows - positives - alarms
    total = matrix[yes, yes] * found + matrix[yes, no] * missed + matrix[no, yes] * alarms + matrix[no, no] * right
    return pd.DataFrame({"threshold": _THRESHOLDS, "cost": per * total / rows, "class": "cost"})


def lift(outcome: Classified) -> pd.DataFrame:
    """Return `share`, `lift` and `class`: how much more frequent positive rows are among the highest scores."""
    yes = outcome.ranked[0]
    scores, positive = outcome.probabilities[:, yes], outcome.y_true == yes
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    ends = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)  # equal scores have no order
    hits, above = np.cumsum(positive[order])[ends], (ends + 1) / len(falling)
    gained = np.interp(_SHARES, np.append(0, above), np.append(0, hits)) / max(positive.sum(), 1)
    return pd.DataFrame({"share": _SHARES, "lift": gained / _SHARES, "class": str(outcome.labels[yes])})


def _above(outcome: Classified) -> tuple[Floats, Floats, int, int]:
    """Return the positive and the other rows above each threshold, and the numbers of positive and of all rows."""
    yes = outcome.ranked[0]
    scores, positive = outcome.probabilities[:, yes], outcome.y_true == yes
    counts = [
        len(each) - np.searchsorted(each, _THRESHOLDS, side="right").astype(np.float64)
        for each in (np.sort(scores[positive]), np.sort(scores[~positive]))
    ]
    return counts[0], counts[1], int(positive.sum()), len(scores)
