"""Load on a server, from its own core, by wrk."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.servers import Server

CONNECTIONS = 16
Figures = dict[str, float]
_LOGIN = """
wrk.method, wrk.body = "POST", "username=nobody&password=wrong"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
"""
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def require_wrk() -> None:
    """End the program if wrk isn't installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; on Debian and Ubuntu: apt install wrk")


def on_core(core: str, command: list[str]) -> str:
    """Run a program on some cores; return its output."""
    return subprocess.run(["taskset", "-c", core, *command], capture_output=True, text=True, check=True).stdout


def flat_out(server: Server, script: Path, seconds: int, core: str, connections: int = CONNECTIONS) -> Figures:
    """Requests a second of the clock and of the server's processor time, and latencies in ms."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    before = server.cpu_seconds
    text = on_core(core, [*command, server.url])
    spent = server.cpu_seconds - before
    rate = re.search(r"Requests/sec:\s+(\S+)", text)
    count = re.search(r"(\d+) requests in", text)
    if rate is None or count is None or "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(text)
    found = dict(re.findall(r"(50|99)%\s+(\S+)", text))
    times = {
        f"p{name}": float(value.rstrip("mus")) * _UNITS[value.lstrip("0123456789.")] for name, value in found.items()
    }
    return {"rate": float(rate[1]), "per CPU second": int(count[1]) / spent, **times}


@contextmanager
def wrong_logins(server: Server, folder: Path, core: str) -> Iterator[None]:
    """Log in with wrong passwords from 50 clients meanwhile, for at most 10 minutes."""
    script = folder / "logins.lua"
    script.write_text(_LOGIN)
    url = server.url.replace("predict", "token")
    command = ["taskset", "-c", core, "wrk", "-t1", "-c50", "-d600s", "-s", str(script), url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as callers:
        try:
            yield
        finally:
            callers.terminate()
