"""The metrics of metrics.json, under scikit-learn's names."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from service.contract import Contract, Label

DIGITS = 10
Scores = npt.NDArray[np.floating[Any]]


def main_metric(task: str) -> str:
    """The metric that the gate compares: r2 for regression, else roc_auc."""
    return "r2" if task == "regression" else "roc_auc"


def score(contract: Contract, y_true: npt.NDArray[Any], scores: Scores, labels: list[Label]) -> dict[str, float]:
    """Score probabilities of shape (rows, classes) and their labels, or values of shape (rows,)."""
    if not contract.classes:
        return {
            "r2": metrics.r2_score(y_true, scores),
            "mean_absolute_error": metrics.mean_absolute_error(y_true, scores),
            "root_mean_squared_error": metrics.root_mean_squared_error(y_true, scores),
        }
    classes = list(contract.classes)
    found = {
        "accuracy": metrics.accuracy_score(y_true, labels),
        "balanced_accuracy": metrics.recall_score(
            y_true, labels, average="macro", labels=np.unique(y_true), zero_division=0
        ),
        "f1_macro": metrics.f1_score(y_true, labels, average="macro", labels=classes, zero_division=0),
        "log_loss": metrics.log_loss(y_true, _summing_to_one(scores), labels=classes),
    }
    auc = roc_auc(classes, y_true, scores)
    if auc is not None:
        found["roc_auc"] = auc
    if contract.task == "binary":
        positive = y_true == classes[1]
        found["average_precision"] = metrics.average_precision_score(positive, scores[:, 1]) if positive.any() else 0.0
        found["brier_score"] = metrics.brier_score_loss(positive, scores[:, 1], pos_label=True)
    return found


def _summing_to_one(scores: Scores) -> Scores:
    double = scores.astype(np.float64)
    normalised: Scores = double / double.sum(axis=1, keepdims=True)
    return normalised


def roc_auc(classes: list[Label], y_true: npt.NDArray[Any], scores: Scores) -> float | None:
    """Binary, or one-vs-rest averaged over the classes that have rows on both sides; None if none has."""
    columns = [1] if len(classes) == 2 else range(len(classes))  # noqa: PLR2004
    areas = []
    for column in columns:
        positive = y_true == classes[column]
        if positive.any() and not positive.all():
            areas.append(metrics.roc_auc_score(positive, scores[:, column]))
    return float(np.mean(areas)) if areas else None


def bootstrap(
    statistic: Callable[[npt.NDArray[np.intp]], float | None], rows: int, resamples: int, seed: int
) -> tuple[float, float] | None:
    """95 % percentile interval of `statistic` over row indices (Efron & Tibshirani 1993, chapter 13)."""
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, rows, rows)) for _ in range(resamples)]
    known = [value for value in values if value is not None and np.isfinite(value)]
    if not known:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def rounded(found: dict[str, float]) -> dict[str, float]:
    """Round to `DIGITS` decimals, so that the last bit of a sum doesn't count; leave out what isn't finite."""
    return {name: round(float(value), DIGITS) for name, value in sorted(found.items()) if np.isfinite(value)}
