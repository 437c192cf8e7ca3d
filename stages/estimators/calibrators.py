"""Functions from a classifier's probabilities to calibrated ones. A saved model contains one, so it needs this module.

`stages.export.calibration` writes the same computations as ONNX.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin

Floats = npt.NDArray[np.float64]
UNCALIBRATED = "uncalibrated"
"""In the ONNX graph: the name of the probabilities before the calibration, doubles of shape (rows, classes)."""


def squeeze(probabilities: Floats, rows: int, classes: int) -> Floats:
    """Move probabilities a little towards 1 / `classes`, so that 0 and 1 have finite logits.

    This is as if half a row of each of two classes had been seen beside the `rows` (Smithson & Verkuilen 2006). It
    keeps the order.
    """
    return (probabilities * rows + 1 / classes) / (rows + 1)


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """For each class against the rest: the sigmoid of slope * logit + intercept (Platt 2000)."""

    slopes: Floats
    """Above 0. Shape (1,) for two classes, whose second one is calibrated, otherwise (classes,)."""
    intercepts: Floats
    rows: int
    """The number of rows that it was fitted on."""

    def __call__(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities; both of shape (rows, classes)."""
        logits = logit(squeeze(last_or_all(probabilities), self.rows, 2))
        return complete(expit(logits * self.slopes + self.intercepts))


@dataclass(frozen=True, slots=True)
class Isotonic:
    """For each class against the rest: a rising curve, straight between its points (Zadrozny & Elkan 2002)."""

    curves: tuple[tuple[Floats, Floats], ...]
    """The points, probabilities before and after, ascending; one curve for two classes, otherwise one a class."""

    def __call__(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities; both of shape (rows, classes)."""
        columns = last_or_all(probabilities).T
        return complete(np.stack([np.interp(x, *curve) for x, curve in zip(columns, self.curves, strict=True)], axis=1))


@dataclass(frozen=True, slots=True)
class Temperature:
    """The softmax of the logarithms divided by a temperature, the same for all classes (Guo et al. 2017)."""

    temperature: float
    rows: int
    """The number of rows that it was fitted on."""

    def __call__(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities; both of shape (rows, classes)."""
        squeezed = squeeze(probabilities, self.rows, probabilities.shape[1])
        return np.asarray(softmax(np.log(squeezed) / self.temperature, axis=1))


Calibrator = Sigmoid | Isotonic | Temperature


def last_or_all(probabilities: Floats) -> Floats:
    """Return the second column if there are two, otherwise all."""
    return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities  # noqa: PLR2004


def complete(calibrated: Floats) -> Floats:
    """Return rows that sum to 1, from the second class's probabilities or from each class's against the rest."""
    if calibrated.shape[1] == 1:
        return np.concatenate([1 - calibrated, calibrated], axis=1)
    return np.asarray(calibrated / calibrated.sum(axis=1, keepdims=True))


class CalibratedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose probabilities a calibrator corrects; the label is the most probable class."""

    def __init__(self, estimator: Any, calibrator: Calibrator) -> None:
        self.estimator = estimator
        self.calibrator = calibrator
        self.classes_ = estimator.classes_

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn names them
        """Do nothing: both parts are fitted already."""
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Return calibrated probabilities, shape (rows, classes)."""
        return self.calibrator(np.asarray(self.estimator.predict_proba(X), dtype=np.float64))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return each row's most probable class."""
        labels: npt.NDArray[Any] = np.asarray(self.classes_)[self.predict_proba(X).argmax(axis=1)]
        return labels

    def __sklearn_is_fitted__(self) -> bool:
        return True
