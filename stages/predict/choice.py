"""Choose the model that scores: the release in service, or the workspace's model if there is no release."""

import json
from dataclasses import dataclass
from typing import Final

from service import release
from service.release import MODEL_FILE, NoReleaseError, ReleaseError
from stages import files
from stages.errors import UserError
from stages.releases import folder

_DEFAULT_THRESHOLD: Final = 0.5


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and what a summary says about it."""

    content: bytes
    md5: str
    threshold: float
    about: str
    """Which release or file it is."""
    hint: str = ""
    """What else the user may want to know."""


def choose() -> Choice:
    """Return the model of the current release, or the workspace's. Raises UserError if there is none."""
    releases = folder.folder()
    try:
        current = release.find_current(releases)
        found = release.load(current)
        content = release.read_file(current / MODEL_FILE)
    except NoReleaseError:
        return _from_workspace()
    except ReleaseError as error:
        raise UserError(str(error)) from None
    md5 = files.md5_of(content)
    if md5 != found.onnx_md5:
        path = current / MODEL_FILE
        raise UserError(f"{path}: its MD5 is {md5}, release.json names {found.onnx_md5}; {release.DAMAGED}")
    other = files.ONNX.is_file() and files.md5(files.ONNX) != md5
    hint = f"; {files.ONNX} is another model, which `make promote` releases" if other else ""
    return Choice(content, md5, _threshold(found.metrics), f"release {current.name} of {found.name}", hint)


def _from_workspace() -> Choice:
    if not files.ONNX.is_file():
        raise UserError(f"{files.ONNX}: not found, and nothing has been released; run `make repro`")
    content = files.ONNX.read_bytes()
    metrics = json.loads(files.METRICS.read_text(encoding="utf-8")) if files.METRICS.is_file() else {}
    return Choice(content, files.md5_of(content), _threshold(metrics), f"{files.ONNX}, which isn't released")


def _threshold(metrics: dict[str, float | str | bool | None]) -> float:
    return float(metrics.get("threshold") or _DEFAULT_THRESHOLD)
