"""The real Prometheus and Alertmanager on this machine."""

import shutil
import subprocess
from pathlib import Path

import pytest

ON_DEBIAN = "on Debian and Ubuntu: apt-get install --no-install-recommends prometheus prometheus-alertmanager"
_NAMES = {"alertmanager": ("prometheus-alertmanager", "alertmanager")}


def program(name: str) -> str:
    """Return the program's path; skip the test if it isn't installed."""
    found = next(filter(None, map(shutil.which, _NAMES.get(name, (name,)))), None)
    if found is None:
        pytest.skip(f"{name} is missing; {ON_DEBIAN}")
    return found


def run(name: str, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    command = [program(name), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)


def succeeds(name: str, *arguments: str | Path, stdin: str | None = None) -> str:
    """Run a program; fail the test if it fails, and return its output."""
    done = run(name, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
