"""The model behind the API: one ONNX file, its contract, and predictions from encoded rows.

`stages.evaluate` scores models through this module, so the served code path is the
evaluated one.
"""

from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from service.contract import METADATA_KEY, Contract, Label, Matrix


class ArtifactError(Exception):
    """The file is not a model that may be served: says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded artifact."""

    contract: Contract
    version: str
    """MD5 of the ONNX file, 32 hexadecimal digits, as dvc.lock has it."""
    session: onnxruntime.InferenceSession

    def scores(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """Probabilities of shape (rows, classes), or values of shape (rows,) for regression."""
        scores: npt.NDArray[np.float32] = self.session.run(None, {"X": matrix})[0]
        # A sum of float32 probabilities can end a rounding above 1.
        return np.clip(scores, 0.0, 1.0) if self.contract.classes else scores.reshape(-1)

    def labels(self, probabilities: npt.NDArray[np.float32], threshold: float) -> list[Label]:
        """The class of each row.

        Binary: the second class where its probability is above `threshold` (so that 0.5
        decides as scikit-learn does). Multiclass: the most probable, the first of equals.
        """
        classes = self.contract.classes
        if self.contract.task == "binary":
            return [classes[1] if above else classes[0] for above in (probabilities[:, 1] > threshold).tolist()]
        return [classes[index] for index in probabilities.argmax(axis=1).tolist()]


def load(path: Path) -> Model:
    """Load the artifact at `path`.

    Raises ArtifactError if it is missing, is not ONNX, or carries no contract that fits.
    """
    # One thread: rows are summed in one fixed order whatever the batch, so an answer is the same to the last digit.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    content = path.read_bytes()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return Model(
        contract=Contract.model_validate_json(metadata[METADATA_KEY]),
        version=md5(content, usedforsecurity=False).hexdigest(),
        session=session,
    )
