"""The metrics of metrics.json, under scikit-learn's names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics

from service.contract import Contract, Label
from stages.scores.main_metric import DIGITS

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]
Scores = npt.NDArray[np.floating[Any]]
_OF_THE_TARGETS_SCALE = ("mean_absolute_error", "root_mean_squared_error")


@dataclass(frozen=True, slots=True)
class Classified:
    """What a classifier said about rows, beside what was true."""

    labels: tuple[Label, ...]
    """The contract's classes, then labels that training did not know: their probability is 0 in every row."""
    positive: int | None
    """Binary: the positive class's place in `labels`; else None."""
    y_true: Codes
    """Places in `labels`, shape (rows,)."""
    probabilities: Floats
    """Shape (rows, labels); a row sums to 1."""
    y_pred: Codes
    """Places in `labels`, shape (rows,)."""

    @property
    def ranked(self) -> tuple[int, ...]:
        """The labels whose probabilities are ranked: the positive one, or each against the rest."""
        return tuple(range(len(self.labels))) if self.positive is None else (self.positive,)


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a regression said about rows, beside what was true; both of shape (rows,)."""

    y_true: Floats
    y_pred: Floats


def classified(
    contract: Contract, y_true: npt.NDArray[Any], probabilities: npt.NDArray[Any], y_pred: Sequence[Label]
) -> Classified:
    """Turn labels into places, and probabilities of shape (rows, classes) into doubles that sum to 1."""
    known = pd.Index(list(contract.classes), dtype=object)
    codes = known.get_indexer(pd.Index(y_true, dtype=object))
    strangers, unseen = pd.factorize(pd.Index(y_true[codes < 0], dtype=object), sort=True)
    codes[codes < 0] = len(known) + strangers
    double = probabilities.astype(np.float64)
    padded = np.pad(double / double.sum(axis=1, keepdims=True), ((0, 0), (0, len(unseen))))
    positive = contract.classes.index(contract.positive) if contract.task == "binary" else None
    labels = (*contract.classes, *unseen.tolist())
    return Classified(labels, positive, codes, padded, known.get_indexer(pd.Index(list(y_pred), dtype=object)))


def score(outcome: Classified | Predicted) -> dict[str, float]:
    """Score by scikit-learn's functions; what the rows do not define (no area with one class alone) is left out."""
    return _score_classes(outcome) if isinstance(outcome, Classified) else _score_values(outcome)


def _score_values(outcome: Predicted) -> dict[str, float]:
    found = {
        "mean_absolute_error": metrics.mean_absolute_error(outcome.y_true, outcome.y_pred),
        "root_mean_squared_error": metrics.root_mean_squared_error(outcome.y_true, outcome.y_pred),
    }
    return found | ({"r2": metrics.r2_score(outcome.y_true, outcome.y_pred)} if len(outcome.y_true) > 1 else {})


def _score_classes(outcome: Classified) -> dict[str, float]:
    y_true, y_pred = outcome.y_true, outcome.y_pred
    found = {
        "accuracy": metrics.accuracy_score(y_true, y_pred),
        # balanced_accuracy_score is this, and warns of a class that was predicted and isn't among the rows.
        "balanced_accuracy": metrics.recall_score(
            y_true, y_pred, average="macro", labels=np.unique(y_true), zero_division=0
        ),
        "f1_macro": metrics.f1_score(y_true, y_pred, average="macro", zero_division=0),
        "log_loss": metrics.log_loss(y_true, outcome.probabilities, labels=range(len(outcome.labels))),
        "brier_score": brier(outcome).mean(),
    }
    if outcome.positive is not None:
        found |= _positive(y_true == outcome.positive, y_pred == outcome.positive)
    truths = [(y_true == label, outcome.probabilities[:, label]) for label in outcome.ranked]
    precisions = [metrics.average_precision_score(*truth) for truth in truths if truth[0].any()]
    areas = [metrics.roc_auc_score(*truth) for truth in truths if truth[0].any() and not truth[0].all()]
    averages = {"average_precision": precisions, "roc_auc": areas}
    return found | {name: np.mean(values) for name, values in averages.items() if values}


def _positive(true: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Recall and precision of the positive class, each where it is defined."""
    found = {"recall": true, "precision": predicted}
    return {name: float((true & predicted).sum() / of.sum()) for name, of in found.items() if of.any()}


def brier(outcome: Classified) -> Floats:
    """Squared error of each row's probabilities: of the positive class if binary, else summed over the classes."""
    right = outcome.y_true[:, None] == np.arange(len(outcome.labels))
    squares = (outcome.probabilities - right) ** 2
    one: Floats = squares.sum(axis=1) if outcome.positive is None else squares[:, outcome.positive]
    return one


def log_loss(outcome: Classified) -> Floats:
    """Negative logarithm of each row's probability of what was true, which is held above 2.2e-16."""
    rows = np.arange(len(outcome.y_true))
    true = outcome.probabilities[rows, outcome.y_true]
    epsilon = np.finfo(np.float64).eps
    losses: Floats = -np.log(np.clip(true, epsilon, 1 - epsilon))
    return losses


def rounded(found: dict[str, float]) -> dict[str, float]:
    """Round to `DIGITS`, so that the last bits of a sum don't count; leave out what isn't finite."""
    return {name: _round(name, float(value)) for name, value in sorted(found.items()) if np.isfinite(value)}


def _round(name: str, value: float) -> float:
    significant = float(f"{value:.{DIGITS}g}")
    return significant if any(scale in name for scale in _OF_THE_TARGETS_SCALE) else round(significant, DIGITS)
