"""Push this commit's outputs to the DVC remote, or pull them, and compare afterwards.

DVC reports "everything is up to date" even if the remote lacks a file that this machine lacks too, and
retries for minutes if an S3 server does not answer. So this command first sends an S3 server one request,
and afterwards compares the remote with dvc.lock.

Example: make push
"""

import argparse
import os
from collections.abc import Sequence

import botocore.config
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from dotenv import dotenv_values
from dvc.config import NoRemoteError
from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.entry import log, run
from stages.errors import UserError

_SHOWN = 3
_TIMEOUTS = botocore.config.Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})


def check_access(repo: Repo, url: str) -> None:
    """Raise botocore's error if an S3 server does not answer within seconds, or refuses to list the bucket."""
    options = repo.cloud.get_remote_odb().fs.fs_args
    client = botocore.session.Session(profile=options.get("profile")).create_client(
        "s3",
        config=_TIMEOUTS,
        aws_access_key_id=options.get("key"),
        aws_secret_access_key=options.get("secret"),
        aws_session_token=options.get("token"),
        **options.get("client_kwargs", {}),
    )
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


def push(repo: Repo, url: str) -> None:
    """Push all outputs. Raises UserError if the remote still lacks an output of this commit."""
    repo.push()
    status = repo.data_status(not_in_remote=True, remote_refresh=True)
    lacking = status.get("not_in_remote", [])
    if lacking:
        here = set(lacking) - set(status.get("not_in_cache", []))
        remedy = "push again" if here else "this machine lacks them as well: run make repro first"
        raise UserError(f"{url} lacks {_join(lacking)}; {remedy}")
    log(f"{url} has every output of this commit")


def pull(repo: Repo, url: str, outputs: Sequence[str]) -> None:
    """Pull `outputs`, or all if there are none.

    DVC checks the MD5 of each file (``verify`` in .dvc/config) and ignores a file with another one.
    Raises UserError if neither the remote nor this machine has an output with the right MD5.
    """
    repo.pull(list(outputs) or None, allow_missing=True)
    lacking = repo.data_status(list(outputs) or None).get("not_in_cache", [])
    if lacking:
        raise UserError(
            f"{url} lacks {_join(lacking)} or holds other bytes; whoever has them must push, or run make repro"
        )
    log(f"{_join(outputs) or 'every output of this commit'} is here")


def _join(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("push", help="send this commit's outputs to the DVC remote, and compare afterwards")
    command = commands.add_parser("pull", help="fetch this commit's outputs from the DVC remote")
    command.add_argument("outputs", nargs="*", help="outputs of dvc.yaml; all of them by default")


def main(command: str, outputs: Sequence[str] = ()) -> None:
    """Push or pull. The AWS variables in .env apply where the environment does not set them."""
    values = dotenv_values(".env", interpolate=False)
    unset = {name: value for name, value in values.items() if name.startswith("AWS_") and not os.environ.get(name)}
    os.environ.update({name: value for name, value in unset.items() if value})
    with Repo() as repo:
        try:
            url = repo.config["remote"][repo.cloud.get_remote().name]["url"]
        except NoRemoteError:
            remedy = "run dvc remote add --default storage s3://BUCKET/PATH"
            raise UserError(f".dvc/config names no default remote; {remedy}") from None
        try:
            if url.startswith("s3://"):
                check_access(repo, url)
            push(repo, url) if command == "push" else pull(repo, url, outputs)
        except (DvcException, BotoCoreError, ClientError, OSError) as error:
            where = "check the URL in .dvc/config, and AWS_ENDPOINT_URL and the credentials in .env or the environment"
            raise UserError(f"{url}: {error}; {where}") from None


if __name__ == "__main__":
    run(main, add_arguments)
