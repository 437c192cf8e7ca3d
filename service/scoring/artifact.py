"""The release in service: found, verified and loaded.

What is served is the file whose MD5 release.json names; other bytes are refused.
"""

from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from service import memory, model, release
from service.model import Model
from service.release import DAMAGED, MODEL_FILE, RELEASE_FILE, Release, ReleaseError
from service.settings import Settings

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified model and its release."""

    model: Model
    release: Release
    folder: str
    """Name of the release's folder, such as 8-5be07c44."""
    threshold: float
    """Binary: the positive class is predicted above this probability, 0 to 1."""


def load(settings: Settings, known: Model | None = None) -> Artifact:
    """Read, verify and load the current release.

    Parameters
    ----------
    known
        A model loaded before; taken again if the verified bytes are the same.

    Raises
    ------
    ArtifactError, ReleaseError
        One line: which file, why it is refused, what to do.
    """
    folder = release.find_current(settings.releases)
    found, path = release.load(folder), folder / MODEL_FILE
    threshold = _check_threshold(folder / RELEASE_FILE, found)
    content = release.read_file(path)
    version = md5(content, usedforsecurity=False).hexdigest()
    if version != found.onnx_md5:
        raise ReleaseError(f"{path}: its MD5 is {version}, {RELEASE_FILE} names {found.onnx_md5}; {DAMAGED}")
    served = known if known and known.version == version else model.from_bytes(content, str(path), DAMAGED)
    del content
    memory.return_free_memory()
    return Artifact(served, found, folder.name, threshold)


def _check_threshold(path: Path, found: Release) -> float:
    threshold = found.metrics.get("threshold", DEFAULT_THRESHOLD)
    if not isinstance(threshold, float | int) or not 0 <= threshold <= 1:
        raise ReleaseError(f"{path}: threshold is {threshold!r}, expected a number from 0 to 1; {DAMAGED}")
    return float(threshold)
