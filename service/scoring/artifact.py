"""The artifact that dvc.lock names: read, compared with the lock, loaded.

`dvc.lock` is the certificate. What is served is the file whose MD5 stands there, measured
by the metrics whose MD5 stands there; anything else is refused.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service import model
from service.model import REMEDY, ArtifactError, Model
from service.scoring import lock, memory
from service.scoring.lock import Lock, Stage
from service.settings import Settings

DEFAULT_THRESHOLD = 0.5
TRAINING_DATA = "data/prepared/train.parquet"


class ArtifactPendingError(ArtifactError):
    """The files do not agree yet, as while the pipeline runs or `dvc checkout` is under way."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified model and what its lock says about it."""

    model: Model
    threshold: float
    """Binary: the positive class is predicted above this probability, 0 to 1."""
    name: str
    """Name in the model registry."""
    params: Mapping[str, Any]
    """Everything of params.yaml that the pipeline read."""
    metrics: Mapping[str, Any]
    """metrics/metrics.json: one flat object."""
    data_md5: str
    """MD5 of the table that the model was trained on; empty if the lock names none."""

    @property
    def version(self) -> str:
        """MD5 of the ONNX file."""
        return self.model.version


def load(settings: Settings, known: Model | None = None) -> Artifact:
    """Read, verify and load what `settings` name.

    Parameters
    ----------
    known
        A model loaded before; taken again if the verified bytes are the same.

    Raises
    ------
    ArtifactError
        One line: which file, why it is refused, what to do.
    ArtifactPendingError
        If a file is missing, or the lock says that the pipeline is half way.
    """
    named = _read_lock(settings.lock_path, settings.max_artifact_bytes)
    writer, model_md5 = _locked(named, settings.lock_path, settings.model_path)
    measurer, metrics_md5 = _locked(named, settings.lock_path, settings.metrics_path)
    relative = _relative(settings.model_path, settings.lock_path)
    measured = next((dep.md5 for dep in measurer.deps if dep.path == relative), None)
    if measurer is not writer and measured != model_md5:
        raise ArtifactPendingError(
            f"{settings.lock_path}: the metrics are those of another {relative}; run `dvc repro`"
        )
    content = _verified(settings.model_path, model_md5, settings.max_artifact_bytes)
    metrics = _metrics(
        settings.metrics_path, _verified(settings.metrics_path, metrics_md5, settings.max_artifact_bytes)
    )
    params = named.params()
    data = named.output(TRAINING_DATA)
    served = known if known and known.version == model_md5 else model.from_bytes(content, str(settings.model_path))
    del content
    memory.give_back()
    return Artifact(
        model=served,
        threshold=_threshold(settings.metrics_path, metrics),
        name=_name(params, settings.model_path),
        params=params,
        metrics=metrics,
        data_md5=data[1] if data else "",
    )


def _read_lock(path: Path, limit: int) -> Lock:
    content = _read(path, limit, "it names the artifact to serve: run `dvc repro`")
    try:
        return lock.read(content)
    except ValueError as error:
        raise ArtifactError(f"{path}: is no lock file of DVC; run `git checkout {path.name}` or `dvc repro`") from error


def _relative(path: Path, lock_path: Path) -> str:
    root = lock_path.resolve().parent
    resolved = path.parent.resolve() / path.name  # DVC may have linked the file itself into its cache
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else resolved.as_posix()


def _locked(lock: Lock, lock_path: Path, path: Path) -> tuple[Stage, str]:
    relative = _relative(path, lock_path)
    found = lock.output(relative)
    if found is None and Path(relative).is_absolute():
        raise ArtifactError(f"{path}: is not below the folder of {lock_path}; set MODEL_PATH and LOCK_PATH to agree")
    if found is None:
        raise ArtifactPendingError(f"{lock_path}: names no {relative}; run `dvc repro`")
    return found


def _read(path: Path, limit: int, remedy: str) -> bytes:
    """Read a regular file, once, so that the bytes compared are the bytes used; a pipe would never end."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ArtifactError(f"{path}: is no regular file")
            if found.st_size > limit:
                raise ArtifactError(f"{path}: has {found.st_size} bytes; MAX_ARTIFACT_BYTES lets {limit} through")
            return file.read()
    except FileNotFoundError:
        raise ArtifactPendingError(f"{path}: is missing; {remedy}") from None
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _verified(path: Path, expected: str, limit: int) -> bytes:
    content = _read(path, limit, "run `dvc repro`, or `dvc pull` where a remote has it")
    found = md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise ArtifactError(f"{path}: its MD5 is {found}, dvc.lock names {expected}; {REMEDY}")
    return content


def _metrics(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return _METRICS.validate_json(content)
    except ValidationError as error:
        raise ArtifactError(f"{path}: is no flat JSON object of metrics; {REMEDY}") from error


_METRICS = TypeAdapter(dict[str, float | str | bool | None])


def _threshold(path: Path, metrics: Mapping[str, Any]) -> float:
    threshold = metrics.get("threshold", DEFAULT_THRESHOLD)
    if not isinstance(threshold, float | int) or not 0 <= threshold <= 1:
        raise ArtifactError(f"{path}: threshold is {threshold!r}, wanted a number from 0 to 1; {REMEDY}")
    return float(threshold)


def _name(params: Mapping[str, Any], path: Path) -> str:
    register = params.get("register")
    name = register.get("name") if isinstance(register, dict) else None
    return name if isinstance(name, str) else path.stem
