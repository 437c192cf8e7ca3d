"""Converters for skl2onnx in place of its own that are not exact."""

from typing import Any

import numpy as np
from onnx import helper, numpy_helper


def register() -> None:
    """Tell skl2onnx to use these converters."""
    from skl2onnx import update_registered_converter  # type: ignore[import-untyped]  # noqa: PLC0415
    from sklearn.impute import SimpleImputer  # noqa: PLC0415

    update_registered_converter(SimpleImputer, "DoubleImputer", _imputer_shape, _convert_imputer, overwrite=True)


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
