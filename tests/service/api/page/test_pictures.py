"""The demo's page. With PICTURES=1 the test also writes the pictures of the docs, docs/images/page*.png."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from service import model
from service.release import SLICES_FILE
from stages import files
from tests.conftest import ROOT
from tests.service.api.conftest import Artifact
from tests.service.api.page.conftest import predict, sign_in
from tests.service.artifacts import Root


@pytest.fixture
def demo(tmp_path: Path) -> Artifact:
    """Return a release of the workspace's model."""
    onnx, metrics, slices = (ROOT / path for path in (files.ONNX, files.METRICS, files.SLICES))
    if not onnx.exists():
        pytest.skip("THE DEMO'S MODEL IS MISSING: its page was not tested; run `dvc repro` or `dvc checkout`")
    root, at = Root(tmp_path / "demo"), datetime(2026, 11, 28, 21, 40, tzinfo=UTC)
    root.write(onnx.read_bytes(), metrics.read_bytes(), at=at, reason="it beats the baseline", training_rows=219_285)
    (root.current / SLICES_FILE).write_bytes(slices.read_bytes())
    return Artifact(root, model.load(root.model))


SCREENS: dict[str, dict[str, Any]] = {
    "page": {"viewport": {"width": 1280, "height": 1240}},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}


@pytest.mark.parametrize("name", SCREENS)
def test_the_demo_is_described_and_predicted(
    demo: Artifact, serve: Any, open_page: Any, tmp_path: Path, name: str
) -> None:
    with serve(demo, tmp_path) as (address, _):
        page = open_page(f"http://{address}/", reduced_motion="reduce", **SCREENS[name])
        sign_in(page)
        predict(page)
        expect(page.locator(".reasons tbody tr")).to_have_count(11)
        expect(page.locator("#slices li").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == SCREENS[name]["viewport"]["width"]
        if name == "page":
            page.evaluate("scrollTo(0, 0)")
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=(ROOT / "docs/images" if os.environ.get("PICTURES") else tmp_path) / f"{name}.png")
