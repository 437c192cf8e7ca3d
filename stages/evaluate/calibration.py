"""The calibration inside the served file: the probabilities before it, and the calibration alone."""

from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from service.contract import Contract
from stages.estimators.calibrators import UNCALIBRATED
from stages.nodes import open_part
from stages.partitions.served import ROWS_AT_ONCE
from stages.scores.calibration import calibration_metrics
from stages.scores.metrics import Classified, Outcome, classified_at, score
from stages.scores.units import Units
from stages.stored import Table, batches

_SHOWN = ("log_loss", "brier_score")


@dataclass(frozen=True, slots=True)
class ServedCalibration:
    """The two parts of a calibrated model's graph."""

    model: onnxruntime.InferenceSession
    calibrator: onnxruntime.InferenceSession

    def outcome_before(self, contract: Contract, rows: Table) -> Classified:
        """Return the probabilities of `rows` before the calibration; the labels are the most probable classes."""
        parts = [
            self.model.run([UNCALIBRATED], {"X": contract.encode(batch)})[0] for batch in batches(rows, ROWS_AT_ONCE)
        ]
        probabilities = np.concatenate(parts)
        return classified_at(contract, rows[contract.target], probabilities, probabilities.argmax(axis=1))

    def apply(self, outcome: Outcome) -> Outcome:
        """Return an uncalibrated outcome with the probabilities calibrated as the served file does."""
        if not isinstance(outcome, Classified):
            return outcome
        calibrated = self.calibrator.run(None, {UNCALIBRATED: outcome.probabilities})[0].astype(np.float64)
        return replace(outcome, probabilities=calibrated / calibrated.sum(axis=1, keepdims=True))


def read_calibration(content: bytes) -> ServedCalibration | None:
    """Cut the graph of the ONNX file `content` in two; None if its probabilities aren't calibrated."""
    whole = onnx.load_model_from_string(content)
    cut = next((place for place, node in enumerate(whole.graph.node, 1) if node.name == UNCALIBRATED), None)
    if cut is None:
        return None
    between = helper.make_tensor_value_info(UNCALIBRATED, TensorProto.DOUBLE, [None, None])
    nodes = list(whole.graph.node)
    return ServedCalibration(
        open_part(whole, nodes[:cut], whole.graph.input, [between]),
        open_part(whole, nodes[cut:], [between], whole.graph.output),
    )


def metrics_before(outcome: Classified, units: Units) -> dict[str, float]:
    """Return metrics of the probabilities before the calibration, as `uncalibrated_…`."""
    whole = score(outcome)
    found = {name: whole[name] for name in _SHOWN} | calibration_metrics(outcome, units)
    return {f"uncalibrated_{name}": value for name, value in found.items() if not name.endswith("_by_chance")}
