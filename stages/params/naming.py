"""The name of a model that has none in ``params.yaml``."""

import hashlib
import re
from pathlib import PurePosixPath

from stages import files  # for the demo

_LONGEST_NAME = 90


def model_name(path: str, target: str) -> str:
    """Return the name of a model that has no ``register.name``: table and target, such as ``mine-arrival``.

    Folders below ``data/`` and ``data/raw/`` are part of it. If a character is not allowed in a
    registry's names, it is replaced and six digits of a hash are added, so that two tables never
    share a name by accident.
    """
    if (path, target) == (str(files.DEMO), "arrival"):  # the demo, as existing registries name it
        return "flights"  # the demo
    parts = list(PurePosixPath(path).parts)
    while len(parts) > 1 and parts[0] in ("/", ".", "data", "raw"):
        parts.pop(0)
    words = [*parts[:-1], parts[-1].partition(".")[0] if parts else "", target]
    name = "-".join(filter(None, (re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-.") for word in words))).lstrip("_-")
    if name == "-".join(words) and len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.md5("\0".join(words).encode(), usedforsecurity=False).hexdigest()[:6]
    return f"{name[:_LONGEST_NAME]}-{digest}".lstrip("-")
