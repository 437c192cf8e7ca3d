"""Load on a server, from its own core: wrk at full speed, hey at a fixed rate."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.servers import Server

CONNECTIONS = 16
Figures = dict[str, float]
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


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


def at_rate(server: Server, rate: float, body: Path, token: str, seconds: int, core: str) -> Figures:  # noqa: PLR0913, PLR0917  # what load is
    """Return latencies in ms at this rate of requests per second."""
    text = on_core(core, [
        "hey", "-z", f"{seconds}s", "-c", str(CONNECTIONS), "-q", f"{rate / CONNECTIONS:.1f}", "-m", "POST", "-T",
        "application/json", "-H", f"Authorization: Bearer {token}", "-D", str(body), server.url,
    ])  # fmt: skip
    if re.findall(r"\[(\d+)\]\s+\d+ responses", text) != ["200"]:
        raise SystemExit(text)
    found = re.findall(r"(50|99)% in (\S+) secs", text)
    return {f"p{name}": float(value) * 1000 for name, value in found}


@contextmanager
def wrong_logins(server: Server, seconds: int, core: str) -> Iterator[None]:
    """Log in with wrong passwords from 50 clients meanwhile, for at most this many seconds."""
    url = server.url.replace("predict", "token")
    with subprocess.Popen(
        ["taskset", "-c", core, "hey", "-z", f"{seconds}s", "-c", "50", "-m", "POST", "-T",
         "application/x-www-form-urlencoded", "-d", "username=nobody&password=wrong", url],
        stdout=subprocess.DEVNULL,
    ) as callers:  # fmt: skip
        try:
            yield
        finally:
            callers.terminate()
