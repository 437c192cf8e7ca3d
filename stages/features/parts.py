"""Cut a served file into its two parts: the derived features, and the estimator."""

from dataclasses import dataclass, replace

import onnx
import onnxruntime
from onnx import TensorProto, helper

from service.encoding import Matrix
from service.model import Model
from stages.features.graph import OUTPUT, estimator_columns
from stages.features.inputs import MATRIX
from stages.nodes import open_part


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a model with derived features."""

    features: onnxruntime.InferenceSession
    estimator: Model
    """The model without the part before it: its matrix has `estimator_columns`."""

    def derive(self, matrix: Matrix) -> Matrix:
        """Return the estimator's matrix for the encoded matrix."""
        derived: Matrix = self.features.run(None, {MATRIX: matrix})[0]
        return derived


def cut(model: Model, content: bytes) -> Parts:
    """Return the parts of `model`, whose file has this content."""
    whole = onnx.load_from_string(content)
    nodes = list(whole.graph.node)
    end = next(place for place, node in enumerate(nodes, start=1) if OUTPUT in node.output)
    width = len(estimator_columns(model.contract))
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, width])
    features = open_part(whole, nodes[:end], whole.graph.input, [output])
    for node in nodes[end:]:
        node.input[:] = [MATRIX if name == OUTPUT else name for name in node.input]
    matrix = helper.make_tensor_value_info(MATRIX, TensorProto.FLOAT, [None, width])
    estimator = open_part(whole, nodes[end:], [matrix], whole.graph.output)
    return Parts(features, replace(model, session=estimator))
