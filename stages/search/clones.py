"""Run an experiment in a temporary clone, on a worker of a Dask cluster."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_LINES: Final = 20
_POLL_SECONDS: Final = 1.0
# If the worker is killed, nobody holds the other end of the input: the command ends, and the clone is removed.
_GUARDED: Final = """
exec 3<&0
(trap '' TERM; cat <&3 >/dev/null; kill -TERM 0; sleep 2; rm -rf -- "$0"; kill -KILL 0) &
exec 3<&-
"$@" </dev/null
status=$?
kill -KILL $!
exit $status
"""


@dataclass(frozen=True, slots=True)
class Order:
    """An experiment to run."""

    settings: tuple[str, ...]
    """Each ``key=value``."""
    name: str
    cache: str
    """The path of DVC's cache on the machine that asks; used if the worker reaches it, too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an experiment ended."""

    status: int
    output: str
    """The last lines that DVC and the stages printed."""
    bundle: bytes = b""
    """A Git bundle with the experiment, if it succeeded."""


def run_in_clone(repository: bytes, order: Order) -> Outcome:
    """Run an experiment in a clone of `repository`, a tar file with a Git folder; nothing of it stays here."""
    from distributed import get_worker  # noqa: PLC0415  # a package that only clusters need

    with tempfile.TemporaryDirectory(prefix="clone-", dir=get_worker().local_directory) as folder:
        clone = Path(folder)
        with tarfile.open(fileobj=io.BytesIO(repository)) as tar:
            tar.extractall(clone, filter="tar")
        _run(clone, "git", "reset", "--quiet", "--hard")
        for setting in ("user.name=worker", "user.email=worker@localhost"):
            _run(clone, "git", "config", *setting.split("="))
        shared = os.access(order.cache, os.W_OK)
        if shared:
            _run(clone, "dvc", "cache", "dir", "--local", order.cache)
        else:  # without a remote, the stages make what is missing, or say what they can't make
            _run(clone, "python", "-m", "stages.commands.remote", "pull")
        options = [part for setting in order.settings for part in ("--set-param", setting)]
        status, output = _run(clone, "dvc", "exp", "run", "--name", order.name, *options)
        if status:
            return Outcome(status, output)
        if not shared:
            _, pushed = _run(clone, "python", "-m", "stages.commands.remote", "push")
            output = f"{output}\n{pushed}"
        return Outcome(0, output, _bundle(clone, order.name))


def _bundle(clone: Path, name: str) -> bytes:
    refs = _run(clone, "git", "for-each-ref", "--format=%(refname)", "refs/exps")[1].split()
    (reference,) = (each for each in refs if each.endswith(f"/{name}"))
    status, output = _run(clone, "git", "bundle", "create", "--quiet", "experiment.bundle", reference, "^HEAD")
    if status:
        raise RuntimeError(output)
    return (clone / "experiment.bundle").read_bytes()


def _run(clone: Path, *command: str) -> tuple[int, str]:
    """Run a command in the clone; return its exit status and its last lines."""
    # The stages of an experiment don't use the cluster: this one worker runs them.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            ["sh", "-c", _GUARDED, str(clone), *command],
            cwd=clone,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        status = _wait(process)
        output.seek(0)
        return status, "\n".join(output.read().splitlines()[-_LINES:])


def _wait(process: subprocess.Popen[Any]) -> int:
    """Return the exit status; end the process if the client that asked for it is gone."""
    from distributed import get_worker  # noqa: PLC0415  # as above

    worker = get_worker()
    task = worker.get_current_task()
    while True:
        try:
            return process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            known = worker.state.tasks.get(task)
            if known is None or known.state == "cancelled":
                os.killpg(process.pid, signal.SIGTERM)
                raise
