"""`make mlflow` leads people to their runs, in a real browser."""

import signal
from collections.abc import Callable

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e.conftest import Project
from tests.service.processes import free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browse")]
COMMAND = ("python", "-m", "stages.commands.browse")


@pytest.mark.long
def test_the_printed_addresses_show_runs_and_the_history_of_releases(trained: Callable[[], Project]) -> None:
    project = trained()
    project.ok("python", "-m", "stages.commands.promote", "--reason", "the first for our callers")
    port = free_port()
    with project.start(*COMMAND, "--port", str(port)) as server:
        server.wait_for(lambda: sum("http://" in line for line in server.lines) == 2)
        runs, model = (line.split()[-1] for line in server.lines if "http://" in line)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
                page = browser.new_page()
                page.goto(runs)
                expect(page.get_by_role("columnheader", name="cv_roc_auc").first).to_be_visible(timeout=60_000)
                expect(page.get_by_text("hist_gradient_boosting at ").first).to_be_visible()
                page.goto(model)
                expect(page.get_by_text("version 2 in service: the first for our callers")).to_be_visible(
                    timeout=60_000
                )
        finally:
            server.process.send_signal(signal.SIGINT)
        status = server.finish()
    assert status == 0
    assert f"http://127.0.0.1:{port}/#/experiments/" in runs


def test_a_project_without_runs_is_told_what_to_do(project: Callable[..., Project]) -> None:
    done = project().run(*COMMAND)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("has no runs of flights yet; run `make repro`")
