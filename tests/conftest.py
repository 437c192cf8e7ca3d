"""For every test: fixed seeds, an empty home directory, no telemetry."""

import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # a thread that waits leaves its core to the other tests; before numpy
os.environ["OPENBLAS_THREAD_TIMEOUT"] = "4"

import numpy as np
import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

settings.register_profile("project", derandomize=True, deadline=None)
settings.load_profile("project")

ROOT = Path(__file__).parent.parent

_ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "Agg",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
}
_FOREIGN = ("AWS_", "DVC_", "MLFLOW_", "MODEL_", "SECRET_KEY", "DATABASE_URL", "DASK_", "OTEL_", "MIMALLOC_")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests that take minutes, unless they are selected."""
    for item in items:
        if config.getoption("-m") != "long" and item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes minutes on two cores: run it by `make test-long`"))


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run the tests with an empty home directory and without the user's settings."""
    # A shell's background job ignores Ctrl-C, and its processes inherit that; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_FOREIGN):
                patch.delenv(name)
        for name, value in _ENVIRONMENT.items():
            patch.setenv(name, value)
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        patch.setenv("DVC_SITE_CACHE_DIR", str(home / "site"))
        yield


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # libraries draw from the legacy generator


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what MLflow puts onto the path with a model: its copy of our code, which new processes would import."""
    monkeypatch.setattr("sys.path", [*sys.path])


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Return a browser. Not for the session: while it runs, no other test of the process can start an event loop."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("CHROMIUM IS NOT INSTALLED: no page was tested; on Debian and Ubuntu: apt-get install chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=["--no-sandbox"]) as browser,
    ):
        yield browser
