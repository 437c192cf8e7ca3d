"""Start a Dask worker of the trainer's image: ``worker.py``; ``worker.py check`` fails if it doesn't listen.

A worker runs the code of whoever connects to it. So it listens only on the network of the scheduler.
"""

import os
import socket
import sys
import urllib.parse
from typing import Final

from trainer import STORE, store

PORT: Final = 8787
FOLDER: Final = "/tmp/dask"  # noqa: S108  # a file system of the container's own
SECONDS: Final = 4.0


def own_address(scheduler: str) -> str:
    """Return this machine's address on the network of the scheduler, such as tcp://scheduler:8786."""
    place = urllib.parse.urlsplit(scheduler)
    with socket.create_connection((place.hostname, place.port), SECONDS) as connection:
        return str(connection.getsockname()[0])


def main(arguments: list[str]) -> None:
    """Check the worker, or become it."""
    scheduler = os.environ.get("DASK_SCHEDULER_ADDRESS") or "tcp://scheduler:8786"
    address = own_address(scheduler)
    if arguments == ["check"]:
        socket.create_connection((address, PORT), SECONDS).close()
        return
    os.environ.update(store(STORE))
    threads = os.environ.get("WORKER_THREADS") or "1"
    options = ["--host", address, "--worker-port", str(PORT), "--nthreads", threads, "--memory-limit", "0"]
    options += ["--no-nanny", "--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--local-directory", FOLDER]
    os.execvp(sys.executable, [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, *options])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
