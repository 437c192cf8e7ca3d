"""``make push`` and ``make pull``: DVC moves the files, and what keeps it from doing so is told in one line.

DVC calls a remote up to date that lacks what this machine lacks as well, and wraps a missing
bucket or key into several lines. So the server is asked before, and what it holds after.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session
from dotenv import dotenv_values
from dvc.config import Config

from stages.entry import log, run
from stages.errors import UserError

_SHOWN = 3
_ENV_FILE = Path(".env")
_TIMEOUTS = botocore.config.Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
_OPTIONS = {
    "endpointurl": "endpoint_url",
    "region": "region_name",
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}
"""DVC's names for what the S3 client is made with; what isn't said comes from AWS's own variables."""
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in .env or the environment"
_REFUSALS = {
    "NoSuchBucket": "there is no such bucket; create it, or name yours: dvc remote modify storage url s3://BUCKET/PATH",
    "InvalidAccessKeyId": f"the server doesn't know the access key; look at {_KEYS}",
    "SignatureDoesNotMatch": f"the secret doesn't belong to the access key; look at {_KEYS}",
    "AccessDenied": "these credentials may not list the bucket; ask its owner for s3:ListBucket, GetObject, PutObject",
    "ExpiredToken": "the session token has expired; fetch a new one",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION",
}


def remote() -> tuple[str, dict[str, Any]]:
    """Give the default remote's URL and its settings.

    Raises UserError if there is no default remote.
    """
    config = Config(dvc_dir=".dvc")
    name = config["core"].get("remote")
    if name not in config["remote"]:
        raise UserError(".dvc/config names no default remote; run dvc remote add --default storage s3://BUCKET/PATH")
    settings = dict(config["remote"][name])
    return settings["url"], settings


def ask(url: str, settings: dict[str, Any]) -> None:
    """Ask an S3 server for one name in the bucket.

    Raises UserError if it can't be reached within seconds, doesn't know the bucket or refuses the credentials.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    options = {theirs: settings[ours] for ours, theirs in _OPTIONS.items() if ours in settings}
    try:
        session = botocore.session.Session(profile=settings.get("profile"))
        client = session.create_client("s3", config=_TIMEOUTS, **options)
        client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError):
        raise UserError(f"{url}: no credentials; set {_KEYS}") from None
    except botocore.exceptions.ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        raise UserError(f"{url}: {_REFUSALS.get(code, f'{code}: {message}')}") from None
    except (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError):
        server = settings.get("endpointurl") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"
        raise UserError(f"{url}: {server} doesn't answer; look at AWS_ENDPOINT_URL and the network") from None
    except (botocore.exceptions.BotoCoreError, ValueError) as error:  # no URL, region or profile
        raise UserError(f"{url}: {error}; look at AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and AWS_PROFILE") from None


def missing(*options: str) -> dict[str, list[str]]:
    """What DVC doesn't find of the outputs that this commit names: ``not_in_cache``, ``not_in_remote``.

    `options` are those of ``dvc data status``, and the outputs to look at if not all.
    """
    command = ["dvc", "data", "status", "--json", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError("dvc data status failed; its message stands above")
    status: dict[str, list[str]] = json.loads(done.stdout)
    return status


def push(url: str) -> None:
    """Push, and compare with what the remote holds afterwards.

    Raises UserError if the remote still lacks an output of this commit.
    """
    _dvc("push")
    status = missing("--not-in-remote")
    lacking = status.get("not_in_remote", [])
    if lacking:
        elsewhere = set(lacking) <= set(status.get("not_in_cache", []))
        remedy = "this machine lacks them as well: run make repro first" if elsewhere else "push again"
        raise UserError(f"{url} lacks {_named(lacking)}; {remedy}")
    log(f"{url} holds every output of this commit")


def pull(url: str, *outputs: str) -> None:
    """Pull the outputs named, or all, and say what the remote could not give.

    DVC checks each file's MD5 as it comes (``verify`` in .dvc/config) and leaves out what has another.
    Raises UserError if an output is neither there, with the bytes that this commit names, nor here.
    """
    _dvc("pull", "--allow-missing", *outputs)
    lacking = missing(*outputs).get("not_in_cache", [])
    if lacking:
        raise UserError(
            f"{url} lacks {_named(lacking)} or holds other bytes; whoever has them must push, or run make repro"
        )
    log(f"{_named(list(outputs)) or 'every output of this commit'} is here")


def _dvc(*command: str) -> None:
    if subprocess.run(["dvc", *command], check=False).returncode:
        raise UserError(f"dvc {command[0]} failed; its message stands above")


def _named(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def said(environ: Mapping[str, str]) -> dict[str, str]:
    """What .env says about AWS and `environ` does not; an empty value counts as not set."""
    values = dotenv_values(_ENV_FILE, interpolate=False)
    return {
        name: value for name, value in values.items() if value and name.startswith("AWS_") and not environ.get(name)
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("push", help="send this commit's outputs to the DVC remote, and compare afterwards")
    command = commands.add_parser("pull", help="fetch this commit's outputs from the DVC remote")
    command.add_argument("outputs", nargs="*", help="outputs of dvc.yaml; all of them by default")


def main(command: str, outputs: Sequence[str] = ()) -> None:
    """Push, or pull the outputs named or all."""
    os.environ.update(said(os.environ))
    url, settings = remote()
    if url.startswith("s3://"):
        ask(url, settings)
    if command == "push":
        push(url)
    else:
        pull(url, *outputs)


if __name__ == "__main__":
    run(main, add_arguments)
