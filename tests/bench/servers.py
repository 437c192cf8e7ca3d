"""The service and the servers with which it is compared, as processes."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.service.artifacts import Root

ROOT = Path(__file__).parents[2]
BARE = """
import sys
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
class Body(BaseModel):
    instances: list[dict[str, float | str | bool | None]]
app = FastAPI()
@app.post("/predict")
async def predict(body: Body):
    return {"predictions": [0]}
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", loop="uvloop", http="httptools")
"""
_FLOOR = ["-m", "uvicorn", "tests.bench.floor:app", "--no-access-log", "--loop", "uvloop", "--http", "httptools",
          "--log-level", "warning"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test."""

    port: int
    process: int
    started: float = field(default_factory=time.perf_counter)

    @property
    def url(self) -> str:
        """Return the URL of predictions."""
        return f"http://127.0.0.1:{self.port}/predict"

    @property
    def cpu_seconds(self) -> float:
        """Return the processor time of the process and its workers so far."""
        ticks = sum(sum(map(int, _stat(each)[11:13])) for each in [self.process, *self._workers()])
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def resident(self) -> float:
        """Return the resident memory of the process, in MB."""
        lines = Path(f"/proc/{self.process}/status").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6

    def _workers(self) -> list[int]:
        return list(map(int, Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()))


def _stat(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def own_python() -> str:
    """Return the Python of an environment with only the packages of the service's lock file; make it if it is missing.

    A library that others brought can be found by those of the service, and cost it time and memory.
    """
    lock, folder = ROOT / "requirements/service.txt", ROOT / "build/bench-environment"
    python, made = folder / "bin/python", folder / "made-from.txt"
    if not made.exists() or made.read_bytes() != lock.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", lock], check=True)
        made.write_bytes(lock.read_bytes())
    return str(python)


class Servers:
    """Starts servers with one artifact and one users database."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._python = own_python()
        root = Root(folder)
        root.write(model.read_bytes())
        self._password = secrets.token_urlsafe(24)
        self._log = folder / "log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "SECRET_KEY": secrets.token_hex(32),
            "ADMIN_USERNAME": "bench",
            "ADMIN_PASSWORD": self._password,
            "DATABASE_URL": f"sqlite:///{folder / 'users.db'}",
            "FLOOR_MODEL": str(model),
            "RELEASES": str(root.releases),
            "PYTHONPATH": str(ROOT),
        }

    @contextmanager
    def floor(self, cores: str) -> Iterator[Server]:
        """Start a FastAPI endpoint that validates the same body."""
        port = _free_port()
        with self._running(cores, [*_FLOOR, "--port", str(port)], port) as server:
            wait(f"http://127.0.0.1:{port}/docs")
            yield server

    @contextmanager
    def service(
        self, cores: str, workers: int = 1, command: Sequence[str] = ("-m", "service"), **more: str
    ) -> Iterator[Server]:
        """Start the service, or another `command`, and wait until it is ready."""
        port = _free_port()
        with self._running(cores, list(command), port, WORKERS=str(workers), **more) as server:
            wait(f"http://127.0.0.1:{port}/health/ready")
            yield server

    def starting(self, cores: str, *, bare: bool) -> AbstractContextManager[Server]:
        """Return a bare FastAPI app or the service, just started."""
        port = _free_port()
        return self._running(cores, ["-c", BARE, str(port)] if bare else ["-m", "service"], port)

    def token(self, server: Server) -> str:
        """Log in."""
        form = urllib.parse.urlencode({"username": "bench", "password": self._password}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/token", form, timeout=10) as answer:
            token: str = json.load(answer)["access_token"]
        return token

    @contextmanager
    def _running(self, cores: str, command: list[str], port: int, **more: str) -> Iterator[Server]:
        with (
            self._log.open("w") as log,
            subprocess.Popen(
                ["taskset", "-c", cores, self._python, *command],
                env=self._environment | {"PORT": str(port)} | more,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield Server(port, process.pid)
            finally:
                process.terminate()
                process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def wait(url: str, body: bytes | None = None, token: str = "", pause: float = 0.02) -> None:
    """Send requests until there is an answer."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5).close()  # noqa: S310  # ours
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{url}: {error.code} {error.read().decode()}") from error
        except OSError:
            time.sleep(pause)
        else:
            return
    raise SystemExit(f"{url} does not answer")
