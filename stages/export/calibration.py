"""Write a calibrator as ONNX nodes, in double precision."""

from typing import TYPE_CHECKING

import numpy as np

from stages.estimators.calibrators import Calibrator, Floats, Isotonic, Sigmoid, Temperature

if TYPE_CHECKING:
    from stages.nodes import Graph


def calibrated(graph: "Graph", probabilities: str, calibrator: Calibrator, classes: int) -> str:
    """Add what `calibrator` computes from the doubles `probabilities`, shape (rows, classes); return the output."""
    if isinstance(calibrator, Temperature):
        logs = graph.add("Log", _squeezed(graph, probabilities, calibrator.rows, classes))
        return graph.add("Softmax", graph.add("Div", logs, _number(graph, calibrator.temperature)), axis=1)
    columns = [_column(graph, probabilities, place) for place in ([1] if classes == 2 else range(classes))]  # noqa: PLR2004
    if isinstance(calibrator, Isotonic):
        parts = [_curve(graph, x, *points) for x, points in zip(columns, calibrator.curves, strict=True)]
    else:
        lines = zip(columns, calibrator.slopes, calibrator.intercepts, strict=True)
        parts = [_sigmoid(graph, x, slope, intercept, calibrator) for x, slope, intercept in lines]
    if len(parts) == 1:
        return graph.add("Concat", graph.add("Sub", _number(graph, 1.0), parts[0]), parts[0], axis=1)
    together = graph.add("Concat", *parts, axis=1)
    return graph.add("Div", together, graph.add("ReduceSum", together, graph.constant(np.array([1])), keepdims=1))


def _squeezed(graph: "Graph", probabilities: str, rows: int, classes: int) -> str:
    scaled = graph.add("Mul", probabilities, _number(graph, float(rows)))
    return graph.add("Div", graph.add("Add", scaled, _number(graph, 1 / classes)), _number(graph, rows + 1.0))


def _sigmoid(graph: "Graph", column: str, slope: float, intercept: float, calibrator: Sigmoid) -> str:
    squeezed = _squeezed(graph, column, calibrator.rows, 2)
    rest = graph.add("Sub", _number(graph, 1.0), squeezed)
    logits = graph.add("Log", graph.add("Div", squeezed, rest))
    scaled = graph.add("Add", graph.add("Mul", logits, _number(graph, slope)), _number(graph, intercept))
    return graph.add("Sigmoid", scaled)


def _curve(graph: "Graph", column: str, before: Floats, after: Floats) -> str:
    """Add each rise of the curve, as far as the row's probability has come in it, to the curve's first value."""
    rises, starts, widths = np.diff(after), before[:-1], np.diff(before)
    steps = rises > 0
    if not steps.any():
        return graph.add("Add", graph.add("Mul", column, _number(graph, 0.0)), _number(graph, after[0]))
    come = graph.add("Div", graph.add("Sub", column, graph.constant(starts[steps])), graph.constant(widths[steps]))
    come = graph.add("Clip", come, _scalar(graph, 0.0), _scalar(graph, 1.0))
    risen = graph.add("Mul", come, graph.constant(rises[steps]))
    total = graph.add("ReduceSum", risen, graph.constant(np.array([1])), keepdims=1)
    return graph.add("Add", total, _number(graph, after[0]))


def _column(graph: "Graph", matrix: str, place: int) -> str:
    return graph.add("Gather", matrix, graph.constant(np.array([place])), axis=1)


def _number(graph: "Graph", value: float) -> str:
    return graph.constant(np.array([value], dtype=np.float64))


def _scalar(graph: "Graph", value: float) -> str:
    return graph.constant(np.array(value, dtype=np.float64))
