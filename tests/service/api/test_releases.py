"""What the metrics tell about releases: their age, where they came from, which one is in service."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.app import create_app
from service.release import RELEASE_FILE, Registry
from tests.service.artifacts import Root, md5_of, metrics_json, onnx_bytes


def registered(number: int, seconds: float) -> Registry:
    return Registry(version=number, run_id="abc", registered_at=datetime.fromtimestamp(seconds, UTC))


def started(root: Root, folder: Path) -> Any:
    """Return an app over the test's own releases, and a function that reads its metrics."""
    app = create_app(root.settings(database_url=f"sqlite:///{folder / 'users.db'}"))

    def metric(family: str, /, **labels: str) -> list[float]:
        samples = [each for found in app.state.registry.collect() for each in found.samples if each.name == family]
        return [each.value for each in samples if labels.items() <= each.labels.items()]

    return metric


def test_the_age_of_a_model_that_was_released_again_counts_from_its_first_registration(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.write(onnx_bytes(), registry=registered(1, 1.5e9))
    root.write(onnx_bytes(lean=1.0), registry=registered(2, 1.6e9))
    version = root.write(onnx_bytes(), registry=registered(3, 1.7e9), verdict="rollback")

    metric = started(root, tmp_path)

    assert metric("model_timestamp_seconds", version=version, source="registry") == [1.5e9]
    assert metric("model_timestamp_seconds", source="release") == []


def test_the_age_of_a_model_that_is_not_registered_counts_from_its_first_release(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.write(onnx_bytes(), at=datetime.fromtimestamp(1.5e9, UTC))
    root.write(onnx_bytes(), at=datetime.fromtimestamp(1.6e9, UTC))

    assert started(root, tmp_path)("model_timestamp_seconds", source="release") == [1.5e9]


def test_releases_are_shown_with_their_origin_and_the_one_in_service(tmp_path: Path) -> None:
    root = Root(tmp_path)
    old = root.write(onnx_bytes(), metrics_json(roc_auc=0.6, baseline_roc_auc=0.5), registry=registered(3, 1.5e9))
    metric = started(root, tmp_path)
    assert metric("release_info", version=old, name="flights", number="3", run_id="abc", verdict="accepted") == [1]
    assert metric("release_metric", version=old) == [0.6]
    assert metric("release_training_rows", version=old) == [1000]
    new = root.write(onnx_bytes(lean=1.0), at=datetime.fromtimestamp(1.7e9, UTC), revision="c" * 40)
    (root.prepare(onnx_bytes(lean=2.0)) / RELEASE_FILE).write_text("never released")

    assert metric("release_timestamp_seconds", version=new) == [1.7e9]
    assert metric("release_info", version=new, revision="c" * 40, number="", run_id="") == [1]
    assert (metric("release_current", version=old), metric("release_current", version=new)) == ([1], [0])
    assert len(metric("release_info")) == 2


def test_only_the_newest_undamaged_releases_are_shown(tmp_path: Path) -> None:
    root = Root(tmp_path)
    for lean in range(25):
        root.write(onnx_bytes(lean))
    (root.releases / f"24-{md5_of(onnx_bytes(23))[:8]}" / RELEASE_FILE).write_text("damaged")

    shown = started(root, tmp_path)("release_info")

    assert len(shown) == 19
