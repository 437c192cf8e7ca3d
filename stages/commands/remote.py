"""Push this commit's outputs to the DVC remote, or pull them, and compare afterwards.

DVC reports "everything is up to date" even if the remote lacks a file that this machine lacks too.
So this asks the remote afterwards what it holds.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any

from dotenv import dotenv_values
from dvc.config import Config

from stages.entry import run, timed
from stages.errors import UserError

_SHOWN = 3
_REMEDY = "check the URL in .dvc/config, and AWS_ENDPOINT_URL and the credentials in .env or the environment"


def push(url: str) -> None:
    """Push. Raises UserError if the remote still lacks an output of this commit."""
    _dvc(url, "push")
    status = _status(url, "--not-in-remote")
    lacking = status.get("not_in_remote", [])
    if lacking:
        here = set(lacking) - set(status.get("not_in_cache", []))
        remedy = "push again" if here else "this machine lacks them as well: run make repro first"
        raise UserError(f"{url} lacks {_join(lacking)}; {remedy}")


def pull(url: str, outputs: Sequence[str]) -> None:
    """Pull the outputs named, or all.

    DVC checks the MD5 of each file (``verify`` in .dvc/config) and ignores a file with another one.
    Raises UserError if an output is neither there, with the right MD5, nor here.
    """
    _dvc(url, "pull", "--allow-missing", *outputs)
    lacking = _status(url, *outputs).get("not_in_cache", [])
    if lacking:
        raise UserError(
            f"{url} lacks {_join(lacking)} or holds other bytes; whoever has them must push, or run make repro"
        )


def _status(url: str, *options: str) -> dict[str, list[str]]:
    """Return which outputs of this commit are ``not_in_cache`` and ``not_in_remote``."""
    status: dict[str, list[str]] = json.loads(_dvc(url, "data", "status", "--json", *options))
    return status


def _dvc(url: str, *command: str) -> str:
    """Run DVC and return its output. Raises UserError with the first error that DVC names."""
    done = subprocess.run(["dvc", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line.partition("ERROR: ")[2] for line in done.stderr.splitlines() if "ERROR: " in line]
        error = (errors or [f"dvc {command[0]} failed"])[0].removeprefix("unexpected error - ")
        raise UserError(f"{url}: {error}; {_REMEDY}")
    return done.stdout


def _join(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _default_url() -> str:
    """Return the URL of the default remote. Raises UserError if there is none."""
    config: dict[str, Any] = Config(dvc_dir=".dvc")
    name = config["core"].get("remote")
    if name not in config["remote"]:
        raise UserError(".dvc/config names no default remote; run dvc remote add --default storage s3://BUCKET/PATH")
    return str(config["remote"][name]["url"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("push", help="send this commit's outputs to the DVC remote, and compare afterwards")
    command = commands.add_parser("pull", help="fetch this commit's outputs from the DVC remote")
    command.add_argument("outputs", nargs="*", help="outputs of dvc.yaml; all of them by default")


def main(command: str, outputs: Sequence[str] = ()) -> None:
    """Push, or pull the outputs named or all, with the AWS variables of .env that the environment does not set."""
    values = dotenv_values(".env", interpolate=False)
    unset = {name: value for name, value in values.items() if name.startswith("AWS_") and not os.environ.get(name)}
    os.environ.update({name: value for name, value in unset.items() if value})
    url = _default_url()
    with timed(f"{command} {_join(list(outputs)) or 'every output of this commit'}, {url}"):
        if command == "push":
            push(url)
        else:
            pull(url, outputs)


if __name__ == "__main__":
    run(main, add_arguments)
