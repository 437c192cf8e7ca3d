"""A real Chromium, and the pages of services on loopback."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from service.release import SLICES_FILE
from tests.service.api.conftest import PASSWORD, Artifact
from tests.service.artifacts import Root, with_coverage

METRICS = {
    "binary": {"roc_auc": 0.8123, "roc_auc_low": 0.78, "roc_auc_high": 0.84, "baseline_roc_auc": 0.5, "threshold": 0.5}
    | {"recall": 0.44, "recall_low": 0.37, "recall_high": 0.51, "precision": 0.4, "interval_unit": "day"}
    | {"interval_units": 121, "log_loss": 0.45, "log_loss_low": 0.42, "log_loss_high": 0.48, "baseline_log_loss": 0.6},
    "multiclass": {"accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8, "baseline_accuracy": 0.4},
    "regression": {"r2": 0.9, "baseline_r2": 0.0, "mean_absolute_error": 0.2, "baseline_mean_absolute_error": 1.5},
}
SLICES = """column,value,rows,roc_auc,roc_auc_low,roc_auc_high,actual,predicted,worse,units
shop,<script>,120,0.61,0.52,0.7,0.2,0.3,True,40
kind,one,300,0.8,0.7,0.9,0.2,0.3,False,60
"""


Open = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Open]:
    """Return a function that opens a page. Errors of scripts and violations of the policy fail the test."""
    problems: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "status of 4" not in message.text:  # tests provoke those
            problems.append(message.text)

    with ExitStack() as contexts:

        def open_page(url: str, width: int = 1280, scheme: Any = "light", **options: Any) -> Page:
            options = {"viewport": {"width": width, "height": 900}, "locale": "en-GB"} | options
            context = chromium.new_context(color_scheme=scheme, ignore_https_errors=True, **options)
            contexts.callback(context.close)
            context.set_default_timeout(15_000)
            page = context.new_page()
            page.on("console", listen)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(url)
            page.wait_for_selector(".field, .operation")
            return page

        yield open_page
    assert problems == []


@pytest.fixture
def release(make_artifact: Any, tmp_path: Path) -> Callable[..., Artifact]:
    """Return a function that copies a model's release and adds a second one, with metrics and slices."""

    def make(target: str = "binary", strict: tuple[str, ...] = ()) -> Artifact:
        artifact: Artifact = make_artifact(target, strict)
        root = Root(tmp_path / "releases")
        metrics = json.dumps(METRICS.get(target, METRICS["binary"])).encode()
        for reason in ("the first one", "better than <b>the first one</b>"):
            root.write(
                with_coverage(artifact.root.model), metrics, name="shop", by="Ada <ada@example.org>", reason=reason
            )
        (root.current / SLICES_FILE).write_text(SLICES, encoding="utf-8")
        return dataclasses.replace(artifact, root=root)

    return make


@pytest.fixture
def start_page(serve: Any, release: Callable[..., Artifact], tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return a function that starts a service and returns the address of its page."""
    with ExitStack() as running:

        def start(target: str = "binary", strict: tuple[str, ...] = (), **changes: Any) -> str:
            address, _ = running.enter_context(serve(release(target, strict), tmp_path, **changes))
            return f"http://{address}/"

        yield start


def token_for(url: str, name: str = "anna") -> str:
    form = {"username": name, "password": PASSWORD}
    return str(httpx.post(f"{url}token", data=form, trust_env=False).json()["access_token"])


def sign_in(page: Page, name: str = "anna") -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def predict(page: Page) -> None:
    page.get_by_role("button", name="Predict", exact=True).click()
    page.locator(".verdict").wait_for()
