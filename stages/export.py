"""Turn the fitted pipeline into the ONNX file that production runs, or refuse."""

import contextlib
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
import onnx
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common import _container
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.sklapi import CastTransformer
from sklearn.pipeline import Pipeline

import service.model
from service.contract import METADATA_KEY, Contract
from stages import _files, _params
from stages._entry import log, run, timed
from stages._errors import UserError
from stages._schema import Schema

TOLERANCE = 1e-5
_OPSET = {"": 21, "ai.onnx.ml": 3}
_IN_DOUBLE = ("RandomForestClassifier", "ExtraTreesClassifier")


def export(pipeline: Pipeline, contract: Contract) -> bytes:
    """Convert every step after `encode`; one float32 input ``X``, one output, the contract as metadata.

    Forests of classifiers add up in double precision, as scikit-learn does: otherwise a tie
    between two classes falls either way.
    """
    steps = list(pipeline.steps[1:])
    if type(pipeline["estimator"]).__name__ in _IN_DOUBLE:
        steps.insert(-1, ("cast", CastTransformer(dtype=np.float64)))
    options: dict[int, dict[str, Any]] = {}
    if contract.classes:
        options[id(pipeline["estimator"])] = {"zipmap": False}
    with _plain_attributes():
        graph = convert_sklearn(
            Pipeline(steps),
            name="model",  # without one a random name is drawn
            initial_types=[("X", FloatTensorType([None, len(contract.columns)]))],
            options=options,
            target_opset=_OPSET,
        )
    if contract.classes:
        scores = next(output for output in graph.graph.output if "prob" in output.name)
        del graph.graph.output[:]
        scores.type.tensor_type.elem_type = onnx.TensorProto.FLOAT  # a double tree ensemble answers in float too
        graph.graph.output.append(scores)
    onnx.helper.set_model_props(graph, {METADATA_KEY: contract.model_dump_json()})
    return bytes(graph.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _plain_attributes() -> Iterator[None]:
    """Hand node attributes to protobuf as plain Python values: version 7 refuses NumPy's, which skl2onnx gives."""
    original = _container.make_node

    def make_node(*args: Any, **attributes: Any) -> Any:
        return original(*args, **{name: _plain(value) for name, value in attributes.items()})

    _container.make_node = make_node
    try:
        yield
    finally:
        _container.make_node = original


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        value = [_plain(item) for item in value]
        kinds = {type(item) for item in value}
        return [int(item) for item in value] if bool in kinds else value
    return int(value) if isinstance(value, bool) else value


def check_parity(pipeline: Pipeline, model: service.model.Model, rows: pd.DataFrame) -> float:
    """Give the largest difference from scikit-learn over `rows`.

    Probabilities count absolutely, values relative to the target's spread. Raises
    UserError if it is above `TOLERANCE` or a label differs.
    """
    contract = model.contract
    expected = pipeline.predict_proba(rows) if contract.classes else pipeline.predict(rows)
    scale = 1.0 if contract.classes else max(float(np.abs(expected).max()), 1e-30)
    scores = model.scores(contract.encode(rows))
    difference = np.abs(scores - expected) / scale
    worst = int(difference.reshape(len(rows), -1).max(axis=1).argmax())
    if not difference.max() <= TOLERANCE:
        raise UserError(
            f"test row {worst}: ONNX gives {scores[worst]}, scikit-learn {expected[worst]}; use another model"
        )
    if contract.classes:
        # A tie is a tie to the resolution of float32, on both sides: scikit-learn's own sum is off in the last bit.
        agreed = model.labels(expected.astype(np.float32), 0.5)
        wrong = np.asarray(model.labels(scores, 0.5)) != np.asarray(agreed)
        if wrong.any():
            raise UserError(
                f"test row {int(wrong.argmax())}: ONNX and scikit-learn predict different classes; use another model"
            )
    return float(difference.max())


def main() -> None:
    """Read the pipeline, write the ONNX file once it agrees with it on every test row."""
    _params.load(_files.PARAMS)
    schema = Schema.model_validate_json(_files.SCHEMA.read_text(encoding="utf-8"))
    pipeline = joblib.load(_files.MODEL)
    rows = pd.read_parquet(_files.TEST)
    with timed("converting to ONNX"):
        content = export(pipeline, schema.contract)
    with _files.replacing(_files.ONNX) as beside:
        beside.write_bytes(content)
        worst = check_parity(pipeline, service.model.load(beside), rows)
    log(f"agrees with scikit-learn on {len(rows):,} test rows, at most {worst:.1e} off")


if __name__ == "__main__":
    run(main)
