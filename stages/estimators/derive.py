"""The pipeline's step that computes derived features, by the same ONNX graph as the served file."""

from typing import Any, Self

import numpy as np
import onnxruntime
from sklearn.base import BaseEstimator, TransformerMixin

from service.encoding import Matrix
from service.model import open_session

_LARGE = 200_000
_FEW = 100


class DeriveFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Return the estimator's matrix for the encoded matrix.

    Parameters
    ----------
    graph : bytes
        The ONNX graph as a file's content.
    """

    def __init__(self, graph: bytes) -> None:
        self.graph = graph

    def fit(self, X: Matrix, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn names them
        """Do nothing: the graph is complete."""
        return self

    def fit_transform(self, X: Matrix, y: Any = None) -> Matrix:  # noqa: ARG002
        """Return the matrix to fit on, with zeros in columns without a value.

        A model learns nothing from them, and scikit-learn's binning fails on columns without a value,
        or with so few that all of them may be missing in the rows it draws.
        """
        matrix = self.transform(X)
        known = np.count_nonzero(~np.isnan(matrix), axis=0)
        matrix[:, known <= (_FEW if len(X) > _LARGE else 0)] = 0
        return matrix

    def transform(self, X: Matrix) -> Matrix:
        """Return shape (rows, columns) as float32."""
        matrix: Matrix = self._session().run(None, {"X": X})[0]
        return matrix

    def _session(self) -> onnxruntime.InferenceSession:
        if not hasattr(self, "_opened"):
            self._opened = open_session(self.graph)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the session, which cannot be pickled."""
        return {name: value for name, value in super().__getstate__().items() if name != "_opened"}

    def __sklearn_is_fitted__(self) -> bool:
        return True
