"""The service as a process, and load on it, over loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.service.artifacts import Root

ADMIN = {"username": "admin", "password": "correct horse battery"}
BODY = {"instances": [{"x0": 0.25, "x1": 0.5}]}
START_SECONDS = 40.0
COMMAND = [sys.executable]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: object, what: str, seconds: float = 10.0) -> None:
    """Wait until the callable `condition` gives something true."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)


def environment(root: Root, port: int, **changes: str) -> dict[str, str]:
    """Return the environment of a service, with cheap hashes and a database beside the artifact."""
    return {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{root.folder / 'users.db'}",
        "ADMIN_USERNAME": ADMIN["username"],
        "ADMIN_PASSWORD": ADMIN["password"],
        "ARGON2_TIME_COST": "1",
        "ARGON2_MEMORY_KIB": "64",
        **root.environment(),
        **changes,
    }


class Service:
    """One running service."""

    def __init__(self, root: Root, module: str = "service", **changes: str) -> None:
        self.root = root
        self.port = free_port()
        self.log = root.folder / f"log-{self.port}"
        self._output = self.log.open("wb")
        self._command = [*COMMAND, "-m", module]
        self._environment = environment(root, self.port, **changes)
        self.restart()
        # Each request on a connection of its own: one kept alive would end with its worker.
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            timeout=20.0,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def restart(self) -> None:
        """Start the process, on the same port; the one before has ended."""
        self.process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._output, stderr=subprocess.STDOUT
        )

    def is_live(self) -> bool:
        assert self.process.poll() is None, self.output()
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/health/live").status_code == 200
        return False

    def sign_in(self) -> None:
        token = self.client.post("/token", data=ADMIN).json()["access_token"]
        self.client.headers["Authorization"] = f"Bearer {token}"

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        listed = subprocess.run(
            ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(line.split()[0]) for line in listed.stdout.splitlines() if "spawn_main" in line]

    def version(self) -> str:
        found: str = self.client.post("/predict", json=BODY).json()["model"]["version"]
        return found

    def metric(self, name: str) -> float:
        """Return the sum of all series with this prefix."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def reaches(self, name: str, value: float) -> bool:
        """Return whether the metric has this value; False while a connection to a killed worker ends."""
        with contextlib.suppress(httpx.TransportError):
            return self.metric(name) == value
        return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._output.close()


@contextlib.contextmanager
def running(root: Root, module: str = "service", **changes: str) -> Iterator[Service]:
    """Run a service that answers and has signed in its admin."""
    service = Service(root, module, **changes)
    try:
        wait_for(service.is_live, "the start", START_SECONDS)
        if int(changes.get("WORKERS", "1")) > 1:
            # The others start once the first answers.
            wait_for(lambda: service.metric("service_workers ") == int(changes["WORKERS"]), "the start", START_SECONDS)
        service.sign_in()
        yield service
    finally:
        service.close()


def fails(root: Root, **changes: str) -> tuple[int, str]:
    """Run a service that must not start; return its exit status and output."""
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        env=environment(root, free_port(), **changes) | changes,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    return done.returncode, done.stdout + done.stderr


@dataclass
class Load:
    """Clients that predict one after another, each on its own connection."""

    service: Service
    versions: set[str] = field(default_factory=set)
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    _stopping: bool = False
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, clients: int = 4) -> None:
        self._threads = [threading.Thread(target=self._predict) for _ in range(clients)]
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.answered > 20 or self.failed, "load")

    def stop(self) -> None:
        self._stopping = True
        for thread in self._threads:
            thread.join()

    def _predict(self) -> None:
        headers = self.service.client.headers
        with httpx.Client(base_url=self.service.client.base_url, headers=headers, trust_env=False) as client:
            while not self._stopping:
                try:
                    response = client.post("/predict", json=BODY)
                except httpx.ConnectError:
                    return  # nobody listens any more: nothing was accepted
                except httpx.TransportError as error:
                    self.failed.append(repr(error))
                    time.sleep(0.2)  # as clients do; the sockets of a killed process go a moment after it
                    continue
                if response.status_code == 200:
                    self.versions.add(response.json()["model"]["version"])
                    self.answered += 1
                else:
                    self.failed.append(response.text)


class HalfRequest:
    """A request whose body is only half there."""

    def __init__(self, service: Service) -> None:
        body = b'{"instances": [{"x0": 0.25, "x1": 0.5}]}'
        head = [
            "POST /predict HTTP/1.1",
            "Host: test",
            f"Authorization: {service.client.headers['Authorization']}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "",
            "",
        ]
        self._rest = body[10:]
        self._socket = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        self._socket.sendall("\r\n".join(head).encode() + body[:10])

    def finish(self) -> bytes:
        """Send the rest; give the answer up to the end of the connection."""
        with self._socket:
            self._socket.sendall(self._rest)
            return b"".join(iter(lambda: self._socket.recv(4096), b""))

    def close(self) -> None:
        self._socket.close()


def paste(lines: Sequence[str], folder: Path) -> str:
    """Run lines as a person does who pastes them into a shell."""
    done = subprocess.run(["bash"], input="\n".join(lines), cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout
