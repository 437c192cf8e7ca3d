"""The pipeline with the network cut: loopback alone, and the kernel counts who tries to reach further."""

import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow
CUT = ("unshare", "--map-root-user", "--net", "sh", "-c")
SCRIPT = 'ip link set lo up && "$@"; status=$?; grep ^Ip: /proc/net/snmp; exit $status'
"""Runs a command, then prints the counters of its network."""
SILENCERS = (
    "DO_NOT_TRACK",
    "DVC_NO_ANALYTICS",
    "GX_ANALYTICS_ENABLED",
    "MLFLOW_DISABLE_TELEMETRY",
    "ORT_DISABLE_TELEMETRY",
)
"""What the tests' environment says and that of a user doesn't."""
REACH = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"


@pytest.fixture(scope="module")
def cut() -> tuple[str, ...]:
    """Give what cuts a command's network, or skip where that isn't permitted."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("NOT TESTED: the pipeline without a network; it needs unshare (util-linux) and ip (iproute2)")
    done = subprocess.run([*CUT, "ip link set lo up"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"NOT TESTED: the pipeline without a network; a namespace isn't permitted: {done.stderr.strip()}")
    return (*CUT, SCRIPT, "sh")


def attempts(output: str) -> int:
    """How many packets had no way out, name servers' among them, by what a command printed last."""
    names, values = (line.split() for line in output.splitlines()[-2:])
    return int(values[names.index("OutNoRoutes")])


def test_who_reaches_beyond_loopback_is_counted(cut: tuple[str, ...]) -> None:
    done = subprocess.run([*cut, "python3", "-c", REACH], capture_output=True, text=True, check=False)

    assert attempts(done.stdout) > 0


def test_the_pipeline_reaches_for_no_network_and_no_tool_calls_home(
    project: Callable[..., Any], cut: tuple[str, ...]
) -> None:
    made = project()
    for name in SILENCERS:
        made.environment.pop(name, None)
    output = made.ok(*cut, "dvc", "repro")

    assert (made.path / "metrics/registration.json").is_file()
    assert attempts(output) == 0
