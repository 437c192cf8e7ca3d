"""Show the pipeline's runs and its registered model in MLflow's pages.

Starts MLflow's server on the store in the repository, and prints the addresses as soon as it answers. If
MLFLOW_TRACKING_URI is a server, prints the addresses there.

Example: python -m stages.commands.browse --port 5001
"""

import argparse
import os
import socket
import subprocess
import sys
import time

from stages.entry import run
from stages.errors import UserError
from stages.params.loading import load_params
from stages.runs import pages, tracking

_HOST = "127.0.0.1"
_SECONDS = 120.0
_SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # it would add eight processes for language models
    "PYTHONWARNINGS": "ignore",  # deprecations, for MLflow's developers
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--port", type=int, default=5000, help="port of MLflow's server, default 5000")


def main(port: int) -> None:
    """Find the experiment; start the server unless there is one; print the addresses."""
    name = load_params().registered_name
    experiment = tracking.open_store(name)
    if experiment is None:
        raise UserError(f"MLflow at {tracking.public_uri()} has no runs of {name} yet; run `make repro`")
    uri = tracking.store_uri()
    addresses = {"runs": pages.runs_path(experiment.experiment_id), "model": pages.model_path(name)}
    if uri.startswith("http"):
        _show(tracking.public_uri().rstrip("/"), addresses)
    else:
        _serve(uri, port, addresses)


def _show(server: str, addresses: dict[str, str]) -> None:
    for what, path in addresses.items():
        print(f"{what:<6} {server}{path}", flush=True)


def _serve(uri: str, port: int, addresses: dict[str, str]) -> None:
    """Run MLflow's server until it is stopped. Raises UserError if the port is taken or the server doesn't start."""
    if _answers(port):
        raise UserError(f"port {port} is taken; stop what uses it, or choose another: make mlflow MLFLOW_PORT=5001")
    command = ["mlflow", "server", "--backend-store-uri", uri, "--host", _HOST, "--port", str(port), "--workers", "1"]
    command.append("--uvicorn-opts=--log-level warning")
    with subprocess.Popen(command, env=os.environ | _SETTINGS, stdout=sys.stderr) as server:
        try:
            _wait(server, port)
            _show(f"http://{_HOST}:{port}", addresses)
            server.wait()
        except KeyboardInterrupt:
            server.terminate()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while not _answers(port):
        if server.poll() is not None:
            raise UserError("MLflow's server stopped; see above")
        if time.monotonic() > deadline:
            server.terminate()
            raise UserError(f"MLflow's server does not answer after {_SECONDS:.0f} s")
        time.sleep(0.2)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


if __name__ == "__main__":
    run(main, add_arguments)
