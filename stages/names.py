"""The name of a model, in releases and in the registry."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

_LONGEST = 90
_DEMO = ("data/raw/flights.parquet", "arrival")
_NAME_OF_DEMO = "flights"


def of_params(params: Mapping[str, Any]) -> str:
    """Return ``register.name``; if it is null, a name made of the table and the target, such as ``mine-arrival``."""
    name = params.get("register", {}).get("name")
    data = params.get("data", {})
    return str(name) if name else default(str(data.get("path", "")), str(data.get("target", "")))


def default(path: str, target: str) -> str:
    """Return a name for the model of a table and a target, in characters that a registry takes.

    Folders below ``data/`` and ``data/raw/`` are part of it. Where a character had to be replaced,
    six digits of a hash follow, so that two tables never share a name by accident.
    """
    if (path, target) == _DEMO:
        return _NAME_OF_DEMO
    parts = list(PurePosixPath(path).parts)
    while len(parts) > 1 and parts[0] in ("/", ".", "data", "raw"):
        parts.pop(0)
    words = [*parts[:-1], parts[-1].partition(".")[0] if parts else "", target]
    plain = "-".join(filter(None, (re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-.") for word in words)))
    if plain == "-".join(words) and len(plain) <= _LONGEST:
        return plain
    digest = hashlib.md5("\0".join(words).encode(), usedforsecurity=False).hexdigest()[:6]
    return f"{plain[:_LONGEST].lstrip('_')}-{digest}".lstrip("-")
