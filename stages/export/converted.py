"""Convert an estimator of any kind by skl2onnx, in double precision."""

import warnings
from itertools import count
from typing import Any

import onnx
from onnx import TensorProto, helper

from stages.errors import UserError
from stages.export import converters
from stages.nodes import OPSET, Graph, rename

_ML_OPSET = 3
_SINGLE = ("SVMRegressor",)
"""Operators that ONNX Runtime has for float32 only."""


def convert(graph: Graph, estimator: Any, columns: int) -> str:
    """Add the estimator's nodes to the graph; return the name of its probabilities or values.

    Raises UserError if skl2onnx cannot convert it.
    """
    model = _convert(estimator, columns)
    for each in model.opset_import:
        graph.opsets[each.domain] = max(each.version, graph.opsets.get(each.domain, 0))
    known = {model.graph.input[0].name: graph.cast(graph.matrix, TensorProto.DOUBLE)}
    numbers = count()
    rename(model.graph, known, lambda _: f"user_{next(numbers)}")
    output = model.graph.output[-1].name
    graph.constants.extend(model.graph.initializer)
    for node in _needed(model.graph, output):
        graph.nodes.extend(_supported(node))
    return graph.cast(output, TensorProto.DOUBLE)


def _convert(estimator: Any, columns: int) -> onnx.ModelProto:
    import skl2onnx  # type: ignore[import-untyped]  # noqa: PLC0415  # takes seconds
    from skl2onnx.common.data_types import DoubleTensorType  # type: ignore[import-untyped]  # noqa: PLC0415

    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    shape = DoubleTensorType([None, columns])
    converters.register()
    opsets = {"": OPSET, "ai.onnx.ml": _ML_OPSET}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it reads attributes that scikit-learn will remove
            converted = skl2onnx.to_onnx(estimator, initial_types=[("X", shape)], options=options, target_opset=opsets)
            model: onnx.ModelProto = converted
    except (RuntimeError, NotImplementedError, ValueError, TypeError, NameError) as error:
        name, reason = type(estimator).__name__, " ".join(str(error).split())[:200]
        raise UserError(f"params.yaml: model: skl2onnx cannot convert {name}: {reason}; use another") from error
    return model


def _needed(part: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """Return the nodes that the output needs, in order; skl2onnx also writes those of the labels."""
    wanted, kept = {output}, []
    for node in reversed(part.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= _read_by(node)
    return kept[::-1]


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Return the names that the node reads, and those in the bodies of loops."""
    bodies = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    return set(node.input).union(*(_read_by(each) for body in bodies for each in body.node))


def _supported(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return nodes that do the same and that ONNX Runtime has for doubles."""
    if node.op_type in _SINGLE:
        source, result = node.input[0], node.output[0]
        single, double = f"{result}_single", f"{result}_double"
        node.input[0], node.output[0] = single, double
        before = helper.make_node("Cast", [source], [single], name=single, to=TensorProto.FLOAT)
        return [before, node, helper.make_node("Cast", [double], [result], name=result, to=TensorProto.DOUBLE)]
    return [node]
