"""Load an ONNX file with its contract, and predict from encoded rows.

`stages.evaluate` also uses this module, so the metrics are of the code that serves.
"""

import json
import os
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

# Without this variable, set before the import, ONNX Runtime 1.29 and newer sends telemetry to its maker and keeps a
# database in the home directory.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _state
from pydantic import BaseModel, ValidationError

from service.contract import CONTRACT_VERSION, COSTS_KEY, COVERAGE_KEY, METADATA_KEY, Contract, Label
from service.coverage import Coverage
from service.encoding import Matrix

RUNTIME_VERSION: str = onnxruntime.__version__
REMEDY = "run `dvc repro`, or `dvc checkout` for what dvc.lock names"
_FATAL = 4
# ONNX Runtime's own errors, and the Python errors to which it converts C++ exceptions.
_ONNXRUNTIME_ERRORS: tuple[type[Exception], ...] = (
    *(each for each in vars(_state).values() if isinstance(each, type) and issubclass(each, Exception)),
    *(IndexError, MemoryError, OverflowError, RuntimeError, ValueError),
)


class ArtifactError(Exception):
    """The file cannot be served. The message has the file, the reason and what to do."""


class _MisfitError(Exception):
    """The file is ONNX, but its contract is missing, invalid or for another graph."""


class _Version(BaseModel):
    """The field that every version of a contract has."""

    version: int


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model."""

    contract: Contract
    version: str
    """MD5 of the ONNX file, 32 hexadecimal digits, as in dvc.lock and release.json."""
    session: onnxruntime.InferenceSession
    costs: npt.NDArray[np.float64] | None = None
    """Multiclass: the costs by true and predicted class, shape (classes, classes), if the label goes by them."""
    coverage: Coverage | None = None
    """What prediction intervals and sets are computed from; older files have nothing."""

    def scores(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """Return probabilities of shape (rows, classes), or values of shape (rows,) for regression."""
        scores: npt.NDArray[np.float32] = self.session.run(None, {"X": matrix})[0]
        # By rounding, a sum of float32 probabilities can be above 1.
        # (np.clip does the same, but takes 1.5 µs longer for one row.)
        return np.minimum(np.maximum(scores, 0.0), 1.0) if self.contract.classes else scores.reshape(-1)

    def places(self, probabilities: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[Any]:
        """Return the place of each row's class in the contract, shape (rows,); `labels` says which one it is."""
        places: npt.NDArray[Any]
        if self.contract.task == "binary":
            positive = self.contract.classes.index(self.contract.positive)
            places = ((probabilities[:, positive] > threshold) == bool(positive)).view(np.int8)
        elif self.costs is None:
            places = probabilities.argmax(axis=1)
        else:  # einsum adds in the same order for any number of rows, unlike a matrix product
            places = np.einsum("ij,jk->ik", probabilities, self.costs).argmin(axis=1)
        return places

    def labels(self, probabilities: npt.NDArray[np.float32], threshold: float) -> list[Label]:
        """Return the class of each row.

        Binary: the positive class if its probability is above `threshold`. Multiclass: the class with the
        least expected cost if there are costs, otherwise the most probable one; of equal ones the first.
        """
        return [self.contract.classes[place] for place in self.places(probabilities, threshold).tolist()]


def load(path: Path) -> Model:
    """Load the model at `path`. Raises ArtifactError like `from_bytes`, and if the file can't be read."""
    try:
        return from_bytes(path.read_bytes(), str(path))
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from error


def from_bytes(content: bytes, name: str, remedy: str = REMEDY) -> Model:
    """Return the model in the bytes of the file `name`; errors end with `remedy`.

    Raises ArtifactError if ONNX Runtime refuses the bytes or the contract does not fit the graph.
    ONNX Runtime refuses weights in other files, because a model loaded from bytes has no folder.
    """
    try:
        model = _build(content)
        _check_fit(model)
    except _MisfitError as error:
        raise ArtifactError(f"{name}: {error}; {remedy}") from error
    except _ONNXRUNTIME_ERRORS as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{name}: ONNX Runtime refuses it: {reason[:200]}; {remedy}") from error
    return model


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """Return a session for the bytes of an ONNX file; one thread, so that any batch gives the same digits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL  # ONNX Runtime raises errors; it would also print them
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    session._model_bytes = None  # noqa: SLF001  # a copy for a fallback to another provider, which isn't used
    return session


def _build(content: bytes) -> Model:
    session = open_session(content)
    metadata = session.get_modelmeta().custom_metadata_map
    return Model(
        contract=_contract(metadata.get(METADATA_KEY)),
        version=md5(content, usedforsecurity=False).hexdigest(),
        session=session,
        costs=np.array(json.loads(metadata[COSTS_KEY]), np.float64) if COSTS_KEY in metadata else None,
        coverage=Coverage.model_validate_json(metadata[COVERAGE_KEY]) if COVERAGE_KEY in metadata else None,
    )


def _contract(text: str | None) -> Contract:
    if text is None:
        raise _MisfitError("it has no contract that describes its columns")
    try:
        version = _Version.model_validate_json(text).version
        if version > CONTRACT_VERSION:
            raise _MisfitError(
                f"its contract has version {version}, this service supports {CONTRACT_VERSION}: update the service, or"
            )
        return Contract.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "contract"
        raise _MisfitError(f"its contract is invalid: {where}: {first['msg']}") from error


def _check_fit(model: Model) -> None:
    """Predict one row. Raises _MisfitError if inputs or outputs differ from the contract."""
    contract = model.contract
    inputs = [(each.name, each.type, each.shape[1:]) for each in model.session.get_inputs()]
    wanted = ("X", "tensor(float)", [len(contract.columns)])
    if inputs != [wanted]:
        raise _MisfitError(f"its contract does not fit the graph: expected the input {wanted}, got {inputs}")
    classes = len(contract.classes)
    if model.costs is not None and model.costs.shape != (classes, classes):
        raise _MisfitError(f"its costs have the shape {model.costs.shape}, expected a row and a column for each class")
    outputs = model.session.run(None, {"X": np.zeros((1, len(contract.columns)), np.float32)})
    found = [(str(output.dtype), output.shape) for output in outputs]
    # A regression target far from zero needs the digits of a double.
    kinds = ("float32",) if contract.classes else ("float32", "float64")
    if found not in [[(kind, (1, max(1, len(contract.classes))))] for kind in kinds]:
        raise _MisfitError(
            f"its contract does not fit the graph: {len(contract.classes)} classes, but the graph returns {found}"
        )
