"""The file .env: what the environment would say, written once with secrets of its own."""

import logging
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from service.settings import ROOT, SettingsError

ENV_FILE: Final = ROOT / ".env"
TO_REPLACE: Final = "replace-this"
"""What a value of the example begins with that everyone draws anew."""
SECRET_BYTES: Final = 32

_log = logging.getLogger(__name__)


def read(environ: Mapping[str, str]) -> dict[str, str]:
    """Give `environ`, completed by the file that its ENV_FILE names, or .env in the repository's root.

    Warns of a file that everyone can read. Raises SettingsError for one that cannot be read, or is named and missing.
    """
    path = path_of(environ)
    values = _values(path) if path.exists() or environ.get("ENV_FILE") else {}
    if values and path.stat().st_mode & stat.S_IROTH:
        _log.warning("everyone on this machine can read the secrets in %s; say `chmod 600 %s`", path, path)
    said = {name: value for name, value in environ.items() if value}  # an empty variable counts as not set
    return values | said


def path_of(environ: Mapping[str, str]) -> Path:
    """Give the file that ENV_FILE names, or .env in the repository's root."""
    return Path(environ.get("ENV_FILE") or ENV_FILE)


def _values(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8") as file:
            bindings = list(parse_stream(file))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8; write it anew from .env.example") from None
    for binding in bindings:
        if binding.error:
            raise SettingsError(f"{path}: line {binding.original.line} is not of the form NAME=value")
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value is not None}


def write(path: Path, example: str) -> None:
    """Write `example` to `path`, readable by its owner alone, with every secret drawn.

    Raises FileExistsError if there is one already.
    """
    lines = [_draw(line) for line in example.splitlines()]
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "w", encoding="utf-8") as written:
            written.write("\n".join([*lines, ""]))
        os.link(beside, path)  # unlike a rename it replaces nothing
    finally:
        beside.unlink()


def _draw(line: str) -> str:
    name, _, value = line.partition("=")
    return f"{name}={secrets.token_urlsafe(SECRET_BYTES)}" if value.startswith(TO_REPLACE) else line
