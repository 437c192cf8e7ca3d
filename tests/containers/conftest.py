"""A second Compose project with its own ports, subnet, images and volumes, and a small table."""

import contextlib
import functools
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Project, project
from tests.service.processes import free_port

__all__ = ["project"]

PORTS = ("HTTPS_PORT", "MLFLOW_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "ALERTMANAGER_PORT")
INSTANCE = {"a": 1.5, "b": 0.5, "c": "x"}
PATIENCE = 180.0
"""Timeout in seconds for a busy machine."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests that need a Docker engine, unless they are selected."""
    reason = ""
    if config.getoption("-m") != "compose":
        reason = "brings the whole system up: run it by `make test-compose`"
    elif not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        reason = "NO DOCKER ENGINE ANSWERS: nothing about the containers was tested"
    for item in items:
        if reason and item.get_closest_marker("compose"):
            item.add_marker(pytest.mark.skip(reason=reason))


def load_script(path: Path) -> ModuleType:
    """Import a script of an image, which isn't in a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def until(holds: Callable[[], Any], what: str) -> None:
    """Call again until the result is true."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.3)


@dataclass
class System:
    """A Compose project that runs from `project`."""

    project: Project
    ports: dict[str, int]
    planted: str
    """A secret in files of the checkout that must not be in an image."""

    @functools.cached_property
    def tls(self) -> ssl.SSLContext:
        """Return a context that trusts the proxy's certificate."""
        return ssl.create_default_context(cadata=self.ok("exec", "-T", "proxy", "cat", "/certificates/tls.crt"))

    def compose(self, *arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Run ``docker compose`` with the profile s3; it may fail."""
        return self.project.run("docker", "compose", "--profile", "s3", *arguments, timeout=timeout)

    def ok(self, *arguments: str, timeout: float = 400) -> str:
        """Run ``docker compose``; fail the test if it fails, and return its standard output."""
        done = self.compose(*arguments, timeout=timeout)
        assert done.returncode == 0, (
            f"docker compose {' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
        return done.stdout

    def train(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the trainer; its output is all in `stdout`."""
        done = self.compose("run", "--rm", "-T", "trainer", *command)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout + done.stderr, "")

    def inspect(self, service: str) -> dict[str, Any]:
        """Return the engine's description of a service's first container."""
        names = self.ok("ps", "--all", "--quiet", service).split()
        found: dict[str, Any] = json.loads(self.project.ok("docker", "inspect", names[0]))[0]
        return found

    def secret(self, name: str) -> str:
        """Return a generated secret of the API."""
        return self.ok("exec", "-T", "api", "cat", f"/run/secrets/{name}")

    def ask(self, port: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request to a published port, `body` as JSON; return the status and the content."""
        scheme = "https" if port == "HTTPS_PORT" else "http"
        with httpx.Client(verify=self.tls, trust_env=False, timeout=30, headers=headers) as client:
            answer = client.request(method, f"{scheme}://localhost:{self.ports[port]}{path}", json=body)
        with contextlib.suppress(ValueError):
            return answer.status_code, answer.json()
        return answer.status_code, answer.text

    def log_in(self) -> dict[str, str]:
        """Log in; return the header with the token."""
        form = {"username": "admin", "password": self.secret("admin_password")}
        url = f"https://localhost:{self.ports['HTTPS_PORT']}/token"
        answer = httpx.post(url, data=form, verify=self.tls, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def version(self, token: dict[str, str]) -> str:
        """Return the MD5 of the model in service."""
        status, answer = self.ask("HTTPS_PORT", "POST", "/predict", {"instances": [INSTANCE]}, **token)
        assert status == 200, answer
        return str(answer["model"]["version"])

    def query(self, expression: str) -> float:
        """Query Prometheus; return the first value, or 0."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        result = self.ask("PROMETHEUS_PORT", "GET", path)[1]["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def is_healthy(self, service: str) -> bool:
        """Return whether the container runs and is healthy."""
        state = self.inspect(service)["State"]
        return bool(state["Running"] and state["Health"]["Status"] == "healthy")


@dataclass
class Traffic:
    """Sends predictions one after another while something else happens."""

    system: System
    token: dict[str, str]
    answered: int = 0
    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator["Traffic"]:
        """Send requests until the block ends."""
        stop = threading.Event()
        thread = threading.Thread(target=self._send, args=(stop,))
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def _send(self, stop: threading.Event) -> None:
        while not stop.wait(0.05):
            try:
                self.versions.append(self.system.version(self.token))
                self.answered += 1
            except (httpx.HTTPError, AssertionError) as error:
                self.failures.append(repr(error))


@pytest.fixture(scope="session")
def system(project: Callable[..., Project]) -> Iterator[System]:
    """Start everything as a new user does, with `.env.example` copied unchanged; remove it at the end."""
    made = project()
    shutil.copy(made.path / ".env.example", made.path / ".env")
    planted = secrets.token_hex(16)
    (made.path / ".dvc/config.local").write_text(f"['remote \"storage\"']\n    password = {planted}\n", "utf-8")
    made.ok("git", "remote", "add", "origin", f"https://someone:{planted}@example.org/repository.git")
    ports = {name: free_port() for name in (*PORTS, "HTTP_PORT")}
    made.environment.update({name: str(port) for name, port in ports.items()})
    made.environment.update(
        COMPOSE_PROJECT_NAME="reproducible-ml-test", IMAGES="reproducible-ml-test", PROXY_SUBNET="10.201.90.0/24"
    )
    # The folder of the `docker` plugins, because tests have another home directory.
    made.environment.setdefault("DOCKER_CONFIG", str(Path(pwd.getpwuid(os.getuid()).pw_dir) / ".docker"))
    running = System(made, ports, planted)
    away = ("--profile", "*", "down", "--volumes", "--remove-orphans")
    try:
        running.ok(*away)
        running.ok("build", timeout=1800)
        running.ok("up", "--wait")
        yield running
    finally:
        running.compose(*away)
