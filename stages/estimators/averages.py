"""The weighted average of several fitted models' predictions. A saved model contains one, so it needs this module."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.pipeline import Pipeline

Floats = npt.NDArray[np.float64]


class _Average(BaseEstimator):  # type: ignore[misc]
    """Pipelines whose last step is `estimator`, and their weights, which sum to 1."""

    def __init__(self, members: list[Pipeline], weights: list[float]) -> None:
        self.members = members
        self.weights = weights

    def fit(self, X: Any, y: Any, options: list[dict[str, Any]]) -> Self:
        """Fit each pipeline; `options` are the arguments of each estimator's `fit`."""
        named = ({f"estimator__{name}": value for name, value in each.items()} for each in options)
        pairs = zip(self.members, named, strict=True)
        self.members_ = [clone(member).fit(X, y, **own) for member, own in pairs]
        if hasattr(self.members_[0], "predict_proba"):
            self.classes_ = self.members_[0].classes_
        return self

    def _average(self, method: str, X: Any) -> Floats:
        predicted = (np.asarray(getattr(member, method)(X), dtype=np.float64) for member in self.members_)
        return np.asarray(sum(weight * each for weight, each in zip(self.weights, predicted, strict=True)))


class AveragedClassifier(ClassifierMixin, _Average):  # type: ignore[misc]
    """The average of probabilities; the label is the most probable class."""

    def predict_proba(self, X: Any) -> Floats:
        """Return probabilities of shape (rows, classes)."""
        return self._average("predict_proba", X)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return each row's most probable class."""
        labels: npt.NDArray[Any] = np.asarray(self.classes_)[self.predict_proba(X).argmax(axis=1)]
        return labels


class AveragedRegressor(RegressorMixin, _Average):  # type: ignore[misc]
    """The average of values."""

    def predict(self, X: Any) -> Floats:
        """Return values of shape (rows,)."""
        return self._average("predict", X)
