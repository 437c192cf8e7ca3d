"""Build the graph that computes derived features, and name the columns of its output."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from service.contract import CategoryFeature, Contract
from stages.features.functions import FUNCTIONS
from stages.features.inputs import MATRIX
from stages.features.translate import Translator
from stages.nodes import IR_VERSION, OPSET, Graph
from stages.params import expressions

OUTPUT: Final = "features"
"""The graph's output: the estimator's matrix, float32."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the estimator's matrix."""

    name: str
    category: CategoryFeature | None
    """The feature, if the column holds codes of its categories."""


@dataclass(frozen=True, slots=True)
class Derived:
    """The graph of a contract's derived features."""

    model: onnx.ModelProto
    used: list[str]
    """Columns of the encoded matrix that the expressions use."""
    notes: list[str]
    """What a person should check, one sentence each."""


def estimator_columns(contract: Contract) -> list[Column]:
    """Return the columns of the estimator's matrix: the encoded ones that it uses, then the derived features."""
    encoded = [
        Column(column, feature if isinstance(feature, CategoryFeature) else None)
        for feature in contract.features
        for column in feature.columns
        if column not in contract.inputs_only
    ]
    return encoded + [Column(name, None) for name in contract.derived]


def build(contract: Contract) -> Derived:
    """Return the graph from the encoded matrix to the estimator's matrix.

    A result that float32 cannot hold, such as 1 / 0, becomes NaN, a missing value. Raises UserError
    for an unknown column or a wrong type.
    """
    to = Translator(contract, FUNCTIONS)
    results = [to.translate(expressions.parse(name, text)) for name, text in contract.derived.items()]
    graph = to.graph
    columns = graph.add("Concat", *_kept(graph, contract), *results, axis=1)
    # An infinite number minus itself is NaN; of all ways to get rid of it, this takes the least time.
    zeros = graph.add("Sub", columns, columns)
    finite = helper.make_node("Add", [columns, zeros], [OUTPUT], name=OUTPUT)
    made = helper.make_graph(
        [*to.inputs.read(graph), *graph.nodes, finite],
        "features",
        [helper.make_tensor_value_info(MATRIX, TensorProto.FLOAT, [None, len(contract.columns)])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, len(estimator_columns(contract))])],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="stages.features")
    return Derived(model, to.inputs.used, to.notes)


def _kept(graph: Graph, contract: Contract) -> list[str]:
    """Return the tensor of the encoded columns that the estimator uses; none if there aren't any."""
    kept = [place for place, column in enumerate(contract.columns) if column not in contract.inputs_only]
    if len(kept) in (0, len(contract.columns)):
        return [MATRIX] if kept else []
    return [graph.add("Gather", MATRIX, graph.constant(np.array(kept, dtype=np.int64)), axis=1)]


def to_bytes(model: onnx.ModelProto) -> bytes:
    """Return the file's bytes, the same for equal graphs."""
    return bytes(model.SerializeToString(deterministic=True))
