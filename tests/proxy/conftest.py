"""nginx, started as in the image, in front of a real service, both on loopback."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.artifacts import written
from tests.service.processes import Service, free_port, running, wait_for

START = Path(__file__).parents[2] / "deploy/proxy/start.sh"
MAX_BODY_BYTES = 20_000
CONNECTIONS = 30
QUICK = {"HEADER_TIMEOUT": "700ms", "BODY_TIMEOUT": "700ms", "SEND_TIMEOUT": "700ms"}


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    folder: Path
    work: Path
    """nginx's own folder."""
    port: int
    http_port: int
    process: "subprocess.Popen[bytes]"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificates/tls.crt"

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8")

    def client(self, **options: Any) -> httpx.Client:
        """Return a client that trusts the proxy's certificate."""
        verify = ssl.create_default_context(cafile=self.certificate)
        return httpx.Client(base_url=f"https://localhost:{self.port}", verify=verify, trust_env=False, **options)

    def connect(self) -> ssl.SSLSocket:
        """Return a connection over TLS, for bytes that no client library sends."""
        context = ssl.create_default_context(cafile=self.certificate)
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 5), server_hostname="localhost")

    def send(self, content: bytes) -> bytes:
        """Send bytes; return what comes until the proxy closes the connection."""
        with self.connect() as client:
            client.sendall(content)
            return read_all(client)


def read_all(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
        while piece := client.recv(65536):
            received += piece
    return received


def statuses(answers: bytes) -> list[int]:
    """Return the statuses of all answers on one connection."""
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


@contextlib.contextmanager
def proxying(folder: Path, api: str, **changes: str) -> Iterator[Proxy]:
    """Run a proxy in front of `api`, with its files in `folder`."""
    if not shutil.which("nginx"):
        pytest.skip("NGINX IS NOT INSTALLED: the proxy was not tested; on Debian and Ubuntu: apt-get install nginx")
    port, http_port, certificates = free_port(), free_port(), folder / "certificates"
    certificates.mkdir(parents=True, exist_ok=True)
    # If root starts nginx, its workers run as another user, who can't enter pytest's own folders.
    work = Path(tempfile.mkdtemp(prefix="nginx-"))
    work.chmod(0o755)
    environment = {
        "PATH": os.environ["PATH"],
        "API": api,
        "FOLDER": str(work),
        "CERTIFICATES": str(certificates),
        "LISTEN_HTTPS": f"127.0.0.1:{port}",
        "LISTEN_HTTP": f"127.0.0.1:{http_port}",
        "HTTPS_PORT": str(port),
        "MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "CONNECTIONS_PER_ADDRESS": str(CONNECTIONS),
    }
    with (folder / "log").open("a") as log:
        process = subprocess.Popen([START], env=environment | changes, stdout=log, stderr=log)
    made = Proxy(folder, work, port, http_port, process)
    try:

        def answers() -> bool:
            assert process.poll() is None, made.log()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(answers, "the start of nginx")
        yield made
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(work)


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = {"MAX_BODY_BYTES": str(MAX_BODY_BYTES), "LOGIN_ATTEMPTS": "1"}
    with running(written(tmp_path_factory.mktemp("served")), LOG_FORMAT="json", **limits) as made:
        yield made


@pytest.fixture(scope="package")
def api(service: Service) -> str:
    return f"127.0.0.1:{service.port}"


@pytest.fixture(scope="package")
def proxy(api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxying(tmp_path_factory.mktemp("proxy"), api) as made:
        yield made


@pytest.fixture(scope="package")
def impatient(api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Return a proxy with timeouts below a second."""
    with proxying(tmp_path_factory.mktemp("impatient"), api, **QUICK) as made:
        yield made


@pytest.fixture(scope="package")
def token(service: Service) -> dict[str, str]:
    return {"Authorization": service.client.headers["Authorization"]}
