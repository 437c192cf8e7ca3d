"""Convert a fitted pipeline to an ONNX graph that computes in double precision, as scikit-learn does.

In single precision, sums over trees and scaled numbers would differ. Arrays are written as a
whole: a converter that visits each node of each tree takes a third of the time of the fit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from service.contract import Contract
from stages.estimators.averages import AveragedClassifier, AveragedRegressor
from stages.estimators.calibrators import UNCALIBRATED, CalibratedClassifier
from stages.estimators.steps import UNKNOWN_CODES, FillBelow
from stages.export import boosters, calibration, converted, ensembles, trees
from stages.export.activation import activated, scores_of_sum
from stages.export.branches import order_branches
from stages.features.graph import estimator_columns
from stages.nodes import IR_VERSION, Graph

Double = npt.NDArray[np.float64]


def convert(pipeline: Pipeline, contract: Contract) -> onnx.ModelProto:
    """Return the graph of every step after `encode`: one input ``X``, float32 (rows, columns), one output ``scores``.

    Derived features are computed by the very nodes whose results the estimator was fitted on.

    The output holds probabilities, float32 (rows, classes), or values (rows, 1): double if the
    target was standardised, else float32.

    Raises UserError if the trees are too large for one ONNX file.
    """
    graph = Graph()
    if "derive" in pipeline.named_steps:
        graph.append(onnx.load_from_string(pipeline["derive"].graph).graph)
    estimator = pipeline["estimator"]
    calibrator = shift = None
    if isinstance(estimator, CalibratedClassifier):
        calibrator, estimator = estimator.calibrator, estimator.estimator
    if isinstance(estimator, TransformedTargetRegressor):
        shift = estimator.transformer_
        estimator = estimator.regressor_
    scores = _scores(graph, estimator, pipeline, contract)
    if calibrator is not None:
        graph.nodes.append(helper.make_node("Identity", [scores], [UNCALIBRATED], name=UNCALIBRATED))
        scores = calibration.calibrated(graph, UNCALIBRATED, calibrator, len(contract.classes))
    scores = graph.cast(scores, TensorProto.FLOAT)
    if shift is not None:
        scaled = graph.add("Mul", graph.cast(scores, TensorProto.DOUBLE), graph.constant(shift.scale_))
        scores = graph.add("Add", scaled, graph.constant(shift.mean_)) if shift.with_mean else scaled
    graph.nodes.append(helper.make_node("Identity", [scores], ["scores"], name="scores"))
    kind = TensorProto.FLOAT if shift is None else TensorProto.DOUBLE
    made = helper.make_graph(
        graph.nodes,
        "model",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, len(contract.columns)])],
        [helper.make_tensor_value_info("scores", kind, [None, len(contract.classes) or 1])],
        graph.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in graph.opsets.items()]
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="stages.export")


def _scores(graph: Graph, estimator: Any, pipeline: Pipeline, contract: Contract, *, by_target: bool = False) -> str:
    """Return probabilities or values, doubles of shape (rows, classes) or (rows, 1).

    With `by_target`, trees with several targets become one for each.
    """
    if "double" in pipeline.named_steps:
        return converted.convert(graph, estimator, len(estimator_columns(contract)))
    match estimator:
        case AveragedClassifier() | AveragedRegressor():
            return _average(graph, estimator, contract)
        case DummyClassifier():
            return _constant_rows(graph, np.asarray(estimator.class_prior_))
        case DummyRegressor():
            return _constant_rows(graph, np.asarray(estimator.constant_).reshape(-1))
        case LogisticRegression() | Ridge():
            raw = _linear(graph, pipeline["expand"], estimator, contract)
            return activated(graph, raw, len(contract.classes))
        case _:
            return _ensemble(graph, estimator, pipeline, contract, by_target=by_target)


def _average(graph: Graph, estimator: Any, contract: Contract) -> str:
    """Return the sum of the members' scores times their weights."""
    total = ""
    for member, weight in zip(estimator.members_, estimator.weights, strict=True):
        scores = _scores(graph, member["estimator"], member, contract, by_target=True)
        term = graph.add("Mul", scores, graph.constant(np.array([weight])))
        total = graph.add("Add", total, term) if total else term
    return total


def _constant_rows(graph: Graph, row: Double) -> str:
    """Return the same for every row of `X`, with a condition whose two results are equal."""
    first = graph.add("Gather", graph.matrix, graph.constant(np.array([0])), axis=1)
    answer = graph.constant(row.astype(np.float64).reshape(1, -1))
    return graph.add("Where", graph.add("IsNaN", first), answer, answer)


def _ensemble(graph: Graph, estimator: Any, pipeline: Pipeline, contract: Contract, *, by_target: bool) -> str:
    features = graph.matrix
    fill = pipeline.named_steps.get("fill")
    is_filled = isinstance(fill, FillBelow)
    if is_filled:
        features = graph.add("Where", graph.add("IsNaN", features), graph.constant(fill.fill_), features)
    columns = len(estimator_columns(contract))
    ensemble = boosters.extract(estimator) or trees.extract(estimator, columns)
    if by_target:  # a file has one version of ai.onnx.ml, and the operator of such trees is not in the latest
        ensemble = trees.split_targets(ensemble)
    ensemble = order_branches(ensemble, columns, with_missing=not is_filled)
    features = graph.add("Concat", features, graph.add("Neg", features), axis=1)
    if not ensemble.single:
        features = graph.cast(features, TensorProto.DOUBLE)
    operator = ensembles.operator(ensemble)
    graph.opsets["ai.onnx.ml"] = operator.opset
    total = graph.add(operator.kind, features, domain="ai.onnx.ml")
    graph.nodes[-1].attribute.extend(operator.attributes)
    total = graph.cast(total, TensorProto.DOUBLE)
    return scores_of_sum(graph, total, ensemble, len(contract.classes))


def _linear(graph: Graph, expand: ColumnTransformer, estimator: Any, contract: Contract) -> str:
    """Return numbers times weights, plus each category's weights from a table, without one-hot rows."""
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64)).T
    terms = [graph.constant(np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64)))]
    wide = 0
    for name, transformer, columns in expand.transformers_:
        if name == "categories":
            wide = sum(len(codes) for codes in transformer.categories_)
            terms.append(_looked_up(graph, transformer.categories_, columns, weights[:wide], contract))
        elif name == "numbers":
            terms.append(_scaled(graph, transformer, columns, weights[wide:]))
    total = terms[0]
    for term in terms[1:]:
        total = graph.add("Add", term, total)
    return total


def _scaled(graph: Graph, steps: Pipeline, columns: Sequence[int], weights: Double) -> str:
    numbers = graph.add("Gather", graph.matrix, graph.constant(np.asarray(columns, dtype=np.int64)), axis=1)
    numbers = graph.cast(numbers, TensorProto.DOUBLE)
    median = graph.constant(steps["fill"].statistics_.astype(np.float64))
    numbers = graph.add("Where", graph.add("IsNaN", numbers), median, numbers)
    centred = graph.add("Sub", numbers, graph.constant(steps["scale"].mean_))
    divided = graph.add("Div", centred, graph.constant(steps["scale"].scale_))
    return graph.add("MatMul", divided, graph.constant(weights))


def _looked_up(graph: Graph, known: list[Double], columns: Sequence[int], weights: Double, contract: Contract) -> str:
    categories = [column.category for column in estimator_columns(contract) if column.category]
    sizes = [len(each.categories) + UNKNOWN_CODES for each in categories]
    starts = np.cumsum([0, *sizes[:-1]]) + UNKNOWN_CODES
    table = np.zeros((sum(sizes), weights.shape[1]))  # a code without training rows adds 0
    places = np.concatenate([start + codes.astype(np.int64) for start, codes in zip(starts, known, strict=True)])
    table[places] = weights
    codes = graph.add("Gather", graph.matrix, graph.constant(np.asarray(columns, dtype=np.int64)), axis=1)
    rows = graph.add("Add", graph.cast(codes, TensorProto.INT64), graph.constant(starts.astype(np.int64)))
    found = graph.add("Gather", graph.constant(table), rows, axis=0)
    return graph.add("ReduceSum", found, graph.constant(np.array([1])), keepdims=0)
