"""Push this commit's outputs to the DVC remote, or pull them, and compare afterwards.

DVC reports "everything is up to date" even if the remote lacks a file that this machine lacks too,
and hides a wrong bucket or key in several lines. So an S3 server gets a request before, and the
remote is compared with dvc.lock afterwards.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session
from dotenv import dotenv_values
from dvc.config import Config

from stages.entry import log, run
from stages.errors import UserError

_SHOWN = 3
_TIMEOUTS = botocore.config.Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
_OPTIONS = {
    "endpointurl": "endpoint_url",
    "region": "region_name",
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}
"""DVC's names for the S3 client's options; AWS's own variables set the others."""


def default_remote() -> dict[str, Any]:
    """Return the settings of the default remote, such as `url`. Raises UserError if there is none."""
    config: dict[str, Any] = Config(dvc_dir=".dvc")
    name = config["core"].get("remote")
    if name not in config["remote"]:
        raise UserError(".dvc/config names no default remote; run dvc remote add --default storage s3://BUCKET/PATH")
    return dict(config["remote"][name])


def check_access(remote: dict[str, Any]) -> None:
    """Raise UserError if an S3 server does not answer within seconds, or refuses to list the bucket."""
    bucket, _, prefix = remote["url"].removeprefix("s3://").partition("/")
    options = {theirs: remote[ours] for ours, theirs in _OPTIONS.items() if ours in remote}
    try:
        session = botocore.session.Session(profile=remote.get("profile"))
        client = session.create_client("s3", config=_TIMEOUTS, **options)
        client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, ValueError) as error:
        where = "check the URL in .dvc/config, and AWS_ENDPOINT_URL and the credentials in .env or the environment"
        raise UserError(f"{remote['url']}: {error}; {where}") from None


def push(url: str) -> None:
    """Push. Raises UserError if the remote still lacks an output of this commit."""
    _dvc("push")
    status = _status("--not-in-remote")
    lacking = status.get("not_in_remote", [])
    if lacking:
        here = set(lacking) - set(status.get("not_in_cache", []))
        remedy = "push again" if here else "this machine lacks them as well: run make repro first"
        raise UserError(f"{url} lacks {_join(lacking)}; {remedy}")
    log(f"{url} has every output of this commit")


def pull(url: str, outputs: Sequence[str]) -> None:
    """Pull the outputs named, or all.

    DVC checks the MD5 of each file (``verify`` in .dvc/config) and ignores a file with another one.
    Raises UserError if an output is neither there, with the right MD5, nor here.
    """
    _dvc("pull", "--allow-missing", *outputs)
    lacking = _status(*outputs).get("not_in_cache", [])
    if lacking:
        raise UserError(
            f"{url} lacks {_join(lacking)} or holds other bytes; whoever has them must push, or run make repro"
        )
    log(f"{_join(list(outputs)) or 'every output of this commit'} is here")


def _status(*options: str) -> dict[str, list[str]]:
    """Return which outputs of this commit are ``not_in_cache`` and ``not_in_remote``."""
    output = _dvc("data", "status", "--json", *options, stdout=subprocess.PIPE)
    status: dict[str, list[str]] = json.loads(output)
    return status


def _dvc(*command: str, stdout: int | None = None) -> str:
    """Run DVC; its messages go to the terminal. Return its output if `stdout` is PIPE."""
    done = subprocess.run(["dvc", *command], stdout=stdout, text=True, check=False)
    if done.returncode:
        raise UserError(f"dvc {command[0]} failed; see its message above")
    return done.stdout or ""


def _join(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


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
    remote = default_remote()
    if remote["url"].startswith("s3://"):
        check_access(remote)
    if command == "push":
        push(remote["url"])
    else:
        pull(remote["url"], outputs)


if __name__ == "__main__":
    run(main, add_arguments)
