"""Converters for skl2onnx in place of its own that are not exact."""

import sys
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import ClassifierMixin
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from stages.export import boosters, ensembles, trees
from stages.export.activation import scores_of_sum
from stages.nodes import OPSET, Graph, rename

_HIST = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_TREES = (
    *(DecisionTreeClassifier, RandomForestClassifier, ExtraTreesClassifier, GradientBoostingClassifier),
    *(DecisionTreeRegressor, RandomForestRegressor, ExtraTreesRegressor, GradientBoostingRegressor),
    *_HIST,
)
_CLASSIFIER_OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}


def register() -> None:
    """Tell skl2onnx to use these converters."""
    from skl2onnx import update_registered_converter  # type: ignore[import-untyped]  # noqa: PLC0415
    from skl2onnx.common import shape_calculator  # type: ignore[import-untyped]  # noqa: PLC0415

    update_registered_converter(SimpleImputer, "ExactImputer", _imputer_shape, _convert_imputer, overwrite=True)
    shapes = {
        True: shape_calculator.calculate_linear_classifier_output_shapes,
        False: shape_calculator.calculate_linear_regressor_output_shapes,
    }
    for kind in (*_TREES, *_boosters()):
        by_class = issubclass(kind, ClassifierMixin)
        options = _CLASSIFIER_OPTIONS if by_class else None
        name = f"Exact{kind.__name__}"
        update_registered_converter(kind, name, shapes[by_class], _convert_trees, overwrite=True, options=options)


def _boosters() -> list[type]:
    """Return the boosters whose library is in use."""
    names = {"lightgbm": "LGBM", "xgboost": "XGB", "catboost": "CatBoost"}
    used = [(sys.modules[module], name) for module, name in names.items() if module in sys.modules]
    return [getattr(module, f"{name}{kind}") for module, name in used for kind in ("Classifier", "Regressor")]


def _convert_trees(scope: Any, operator: Any, container: Any) -> None:
    """Write trees with double thresholds; skl2onnx's own converter rounds them to float32.

    Raises ValueError for splits by category.
    """
    estimator, graph = operator.raw_operator, Graph()
    ensemble = boosters.extract(estimator) or trees.extract(estimator, estimator.n_features_in_, with_missing=True)
    if any(tree.members for tree in ensemble.trees):
        raise ValueError("splits by category are supported only for the models of params.yaml")
    graph.matrix = operator.inputs[0].full_name
    # All but these compare doubles.
    in_double = isinstance(estimator, _HIST) or type(estimator).__module__.startswith("lightgbm")
    features = graph.matrix if in_double else graph.cast(graph.matrix, TensorProto.FLOAT)
    trees_operator = ensembles.wide_operator(ensemble)
    total = graph.add(trees_operator.kind, graph.cast(features, TensorProto.DOUBLE), domain="ai.onnx.ml")
    graph.nodes[-1].attribute.extend(trees_operator.attributes)
    total = graph.cast(total, TensorProto.DOUBLE)
    classes = len(getattr(estimator, "classes_", ()))
    scores = scores_of_sum(graph, total, ensemble, classes)
    outputs = [each.full_name for each in operator.outputs]
    graph.nodes.append(helper.make_node("Identity", [scores], [outputs[-1]]))
    if classes:
        graph.nodes.append(helper.make_node("ArgMax", [scores], [outputs[0]], axis=1, keepdims=0))
    part = helper.make_graph(graph.nodes, "trees", [], [], graph.constants)
    fixed = {name: name for name in (graph.matrix, *outputs)}
    rename(part, fixed, scope.get_unique_variable_name)
    container.nodes.extend(part.node)
    container.initializers.extend(part.initializer)
    container.node_domain_version_pair_sets.update({("", OPSET), ("ai.onnx.ml", trees_operator.opset)})


def _imputer_shape(operator: Any) -> None:
    kept = int((~np.isnan(operator.raw_operator.statistics_)).sum())
    given = operator.inputs[0].type
    operator.outputs[0].type = type(given)([given.shape[0], kept])


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Write SimpleImputer for doubles: ONNX's own operator rounds the fill values to float32.

    Raises ValueError for its rarer options.
    """
    imputer, source = operator.raw_operator, operator.inputs[0].full_name
    if imputer.add_indicator or not np.isnan(imputer.missing_values):
        raise ValueError("only SimpleImputer without add_indicator and for NaN is supported")
    kept = np.flatnonzero(~np.isnan(imputer.statistics_))  # columns without any value are dropped
    fill, places, taken, missing = (scope.get_unique_variable_name(each) for each in ("fill", "places", "x", "nan"))
    values = np.asarray(imputer.statistics_[kept], dtype=np.float64).reshape(1, -1)
    container.initializers.extend([numpy_helper.from_array(values, fill), numpy_helper.from_array(kept, places)])
    container.nodes.extend(
        [
            helper.make_node("Gather", [source, places], [taken], axis=1),
            helper.make_node("IsNaN", [taken], [missing]),
            helper.make_node("Where", [missing, fill, taken], [operator.outputs[0].full_name]),
        ]
    )
