"""Write the result of a partition once, with a marker that says from what it was made."""

import json
import platform
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from stages.partitions import storage
from stages.partitions.storage import HashedFile

MARKERS: Final = "_parts"
"""The folder of the markers, beside the parts. Readers of data sets skip names with an underscore."""
MANIFEST: Final = "_manifest.json"

_PACKAGES: Final = ("numpy", "onnxruntime", "pyarrow")

About = dict[str, Any]
"""What is known about a part; JSON."""


def make_part(folder: str, name: str, source: Mapping[str, str], write: Callable[[HashedFile], About]) -> About:
    """Write the part `name` into `folder`, unless a complete one made from the same `source` is there.

    `source` has the MD5s of the input and the model, and all settings. Returns what `write` says about the part,
    with its MD5 as `md5`.
    """
    source = {**source, **versions()}
    path, marker = storage.join(folder, name), storage.join(folder, f"{MARKERS}/{name}.json")
    before = _read(marker)
    if before and before["source"] == source and storage.md5(path) == before["about"]["md5"]:
        return dict(before["about"])
    storage.remove(marker)
    with storage.writing(path) as file:
        about = write(file)
    about = {**about, "md5": file.md5}
    storage.write(marker, json.dumps({"source": source, "about": about}).encode())
    return about


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages on which the bytes depend."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def _read(marker: str) -> dict[str, Any] | None:
    content = storage.read(marker)
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None
