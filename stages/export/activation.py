"""Turn raw scores into probabilities or values."""

import numpy as np

from stages.export.trees import Ensemble
from stages.nodes import Graph


def scores_of_sum(graph: Graph, total: str, ensemble: Ensemble, classes: int) -> str:
    """Return probabilities or values from the sum of the trees; `classes` is 0 for a regression."""
    if ensemble.raw:
        return activated(graph, graph.add("Add", total, graph.constant(ensemble.base)), classes)
    return _both(graph, total) if classes == 2 else total  # noqa: PLR2004


def activated(graph: Graph, raw: str, classes: int) -> str:
    """Return probabilities of raw scores, or the values of a regression, as doubles."""
    if classes == 2:  # noqa: PLR2004
        return _both(graph, graph.add("Sigmoid", raw))
    return graph.add("Softmax", raw, axis=1) if classes else raw


def _both(graph: Graph, second: str) -> str:
    """Return the probabilities of two classes from that of the second."""
    return graph.add("Concat", graph.add("Sub", graph.constant(np.array([1.0])), second), second, axis=1)
