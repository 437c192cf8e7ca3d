"""Counts by version of the model: the last eight are shown, and no others."""

from pathlib import Path

from service.feedback import Outcome, Prediction
from service.instruments.feedback import tally
from service.instruments.registry import Instruments
from service.instruments.releases import KEPT
from service.scoring import artifact
from service.scoring.serving import Serving
from tests.service.artifacts import Root, onnx_bytes


def versions(instruments: Instruments, name: str) -> set[str]:
    samples = [each for metric in instruments.registry.collect() for each in metric.samples if each.name == name]
    return {each.labels["version"] for each in samples}


def test_the_newest_versions_are_shown_and_a_version_that_returns_starts_at_zero(tmp_path: Path) -> None:
    root = Root(tmp_path)
    released = [root.write(onnx_bytes())]
    instruments = Instruments(root.settings())
    serving = Serving(artifact.load(root.settings()), instruments)
    for number in range(1, KEPT + 2):
        released.append(root.write(onnx_bytes(lean=float(number))))
        serving.swap(artifact.load(root.settings()))

    assert versions(instruments, "feature_rows_total") == set(released[-KEPT:])
    assert versions(instruments, "feedback_rows_total") == set(released[-KEPT:])

    root.write(onnx_bytes())
    serving.swap(artifact.load(root.settings()))
    assert versions(instruments, "predictions_total") == {*released[-KEPT + 1 :], released[0]}


def test_a_truth_of_a_version_that_is_not_shown_makes_no_series(tmp_path: Path) -> None:
    root = Root(tmp_path)
    version = root.write(onnx_bytes())
    instruments = Instruments(root.settings())
    Serving(artifact.load(root.settings()), instruments)
    gone = Prediction(nonce=bytes(16), version=bytes(16), at=0, predicted="yes", score=0.5, positive=True)

    instruments.feedback.count(tally([Outcome(gone, "yes")]))

    assert versions(instruments, "feedback_rows_total") == {version}
