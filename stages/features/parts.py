"""Cut a served file into its two parts: the derived features, and the estimator."""

from dataclasses import dataclass, replace

import onnx
import onnxruntime
from onnx import TensorProto, helper

from service.encoding import Matrix
from service.model import Model, open_session
from stages.features.graph import OUTPUT, estimator_columns, to_bytes
from stages.features.inputs import MATRIX


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
    nodes, constants = list(whole.graph.node), list(whole.graph.initializer)
    end = next(place for place, node in enumerate(nodes, start=1) if OUTPUT in node.output)
    width = len(estimator_columns(model.contract))
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, width])
    first = helper.make_graph(nodes[:end], "features", whole.graph.input, [output], constants)
    for node in nodes[end:]:
        node.input[:] = [MATRIX if name == OUTPUT else name for name in node.input]
    matrix = helper.make_tensor_value_info(MATRIX, TensorProto.FLOAT, [None, width])
    second = helper.make_graph(nodes[end:], "estimator", [matrix], whole.graph.output, constants)
    features, estimator = (
        open_session(to_bytes(helper.make_model(part, opset_imports=whole.opset_import, ir_version=whole.ir_version)))
        for part in (first, second)
    )
    return Parts(features, replace(model, session=estimator))
