"""A whole system of its own: a Compose project with its own ports, subnet, images and volumes, and a small table."""

import contextlib
import functools
import http.client
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.e2e.conftest import Project, project

__all__ = ["project"]

PORTS = ("HTTPS_PORT", "MLFLOW_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "ALERTMANAGER_PORT")
INSTANCE = {"a": 1.5, "b": 0.5, "c": "x"}
PATIENCE = 180.0
"""Seconds that something may take on a busy machine."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs an engine unless it is asked for, with the reason."""
    reason = ""
    if config.getoption("-m") != "compose":
        reason = "brings the whole system up: run it by `make test-compose`"
    elif not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        reason = "NO DOCKER ENGINE ANSWERS: nothing about the containers was tested"
    for item in items:
        if reason and item.get_closest_marker("compose"):
            item.add_marker(pytest.mark.skip(reason=reason))


def load_script(path: Path) -> ModuleType:
    """Import a script of an image, which is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def until(holds: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Ask again until the answer is true; return it."""
    deadline = time.monotonic() + patience
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {what}"
        time.sleep(0.3)
    return answer


@dataclass
class System:
    """A Compose project that runs from `project`."""

    project: Project
    ports: dict[str, int]
    planted: str
    """A secret in files of the checkout that belong into no image."""

    @functools.cached_property
    def tls(self) -> ssl.SSLContext:
        """Trust the certificate that the proxy made."""
        return ssl.create_default_context(cadata=self.ok("exec", "-T", "proxy", "cat", "/certificates/tls.crt"))

    def compose(self, *arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Run ``docker compose`` with the profile s3; it may fail."""
        return self.project.run("docker", "compose", "--profile", "s3", *arguments, timeout=timeout)

    def ok(self, *arguments: str, timeout: float = 400) -> str:
        """Run ``docker compose``, which has to succeed; return its standard output."""
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
        """Return what the engine knows about a service's first container."""
        names = self.ok("ps", "--all", "--quiet", service).split()
        found: dict[str, Any] = json.loads(self.project.ok("docker", "inspect", names[0]))[0]
        return found

    def secret(self, name: str) -> str:
        """Return a secret that was drawn for the API."""
        return self.ok("exec", "-T", "api", "cat", f"/run/secrets/{name}")

    def ask(self, port: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request to a published port; return the status and the content."""
        connection = (
            http.client.HTTPSConnection("localhost", self.ports[port], timeout=30, context=self.tls)
            if port == "HTTPS_PORT"
            else http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=30)
        )
        with contextlib.closing(connection):
            form = isinstance(body, str)
            kind = {"Content-Type": "application/x-www-form-urlencoded" if form else "application/json"}
            payload = body if form or body is None else json.dumps(body)
            connection.request(method, path, payload, (kind if body is not None else {}) | headers)
            answer = connection.getresponse()
            content = answer.read()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(content)
        return answer.status, content.decode(errors="replace")

    def log_in(self) -> dict[str, str]:
        """Log in; return the header with the token."""
        form = urllib.parse.urlencode({"username": "admin", "password": self.secret("admin_password")})
        status, answer = self.ask("HTTPS_PORT", "POST", "/token", form)
        assert status == 200, answer
        return {"Authorization": f"Bearer {answer['access_token']}"}

    def version(self, token: dict[str, str]) -> str:
        """Return the MD5 of the model that answers."""
        status, answer = self.ask("HTTPS_PORT", "POST", "/predict", {"instances": [INSTANCE]}, **token)
        assert status == 200, answer
        return str(answer["model"]["version"])

    def query(self, expression: str) -> float:
        """Ask Prometheus; return the first value, or 0."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        result = self.ask("PROMETHEUS_PORT", "GET", path)[1]["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def is_healthy(self, service: str) -> bool:
        """Return whether the container runs and is healthy."""
        state = self.inspect(service)["State"]
        return bool(state["Running"] and state["Health"]["Status"] == "healthy")


@dataclass
class Traffic:
    """Predictions, one after the other, while something else happens."""

    system: System
    token: dict[str, str]
    answered: int = 0
    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator["Traffic"]:
        """Send until the block ends."""
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
            except (OSError, AssertionError, http.client.HTTPException) as error:
                self.failures.append(repr(error))


@pytest.fixture(scope="session")
def system(project: Callable[..., Project]) -> Iterator[System]:
    """Bring everything up as a newcomer does, with `.env.example` copied as it is; tear it down again."""
    made = project()
    shutil.copy(made.path / ".env.example", made.path / ".env")
    planted = secrets.token_hex(16)
    (made.path / ".dvc/config.local").write_text(f"['remote \"storage\"']\n    password = {planted}\n", "utf-8")
    made.ok("git", "remote", "add", "origin", f"https://someone:{planted}@example.org/repository.git")
    names = (*PORTS, "HTTP_PORT", "TRACING_PORT")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    made.environment.update({name: str(port) for name, port in ports.items()})
    made.environment.update(
        COMPOSE_PROJECT_NAME="reproducible-ml-test", IMAGES="reproducible-ml-test", PROXY_SUBNET="10.201.90.0/24"
    )
    # Where the plugins of `docker` are: tests have a home of their own.
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


def _free_ports(count: int) -> Sequence[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [each.getsockname()[1] for each in held]
