"""Collect the nodes and constants of an ONNX graph."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from service.model import open_session

OPSET = 21
IR_VERSION = 10


class Graph:
    """Nodes and constants in the order they were added, with numbered names."""

    def __init__(self) -> None:
        self.opsets = {"": OPSET}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.matrix = "X"
        """The tensor that the estimator reads."""

    def append(self, part: onnx.GraphProto) -> None:
        """Add the nodes and constants of a part that a `Graph` wrote, whose output the estimator reads.

        Call it first: the names of nodes that follow are numbered from there.
        """
        self.nodes.extend(part.node)
        self.constants.extend(part.initializer)
        self.matrix = part.output[0].name

    def add(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def constant(self, value: npt.ArrayLike) -> str:
        """Add an array and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def cast(self, value: str, to: int) -> str:
        """Add a cast to an ONNX data type and return the output's name."""
        return self.add("Cast", value, to=to)


def rename(part: onnx.GraphProto, known: dict[str, str], fresh: Callable[[str], str]) -> None:
    """Give nodes and tensors the names in `known`, or fresh ones, in their order; also in the bodies of loops."""

    def renamed(name: str) -> str:
        if name and name not in known:
            known[name] = fresh(name)
        return known.get(name, "")

    part.name = fresh("graph")
    for tensor in (*part.initializer, *part.input):
        tensor.name = renamed(tensor.name)
    for node in part.node:
        node.name = fresh(node.op_type)
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                rename(attribute.g, known, fresh)
    for tensor in part.output:
        tensor.name = renamed(tensor.name)


def open_part(
    whole: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
) -> onnxruntime.InferenceSession:
    """Return a session for some nodes of a model. It has all constants, because bodies of loops may use any."""
    graph = helper.make_graph(list(nodes), "part", list(inputs), list(outputs), whole.graph.initializer)
    part = helper.make_model(graph, opset_imports=whole.opset_import, ir_version=whole.ir_version)
    return open_session(part.SerializeToString())
