"""The format of a release, and how to read one.

A folder of releases holds one folder for each release, named by its sequence number and the
first 8 digits of its model's MD5, and a relative link `current` to the one in service::

    models/releases/
        .lock                 held by whoever changes anything here
        .served               held by services that run
        7-0f3c9a12/           release.json, model.onnx
        8-5be07c44/           release.json, model.onnx
        current -> 8-5be07c44

A release is written in full under another name, renamed, and becomes current when `current`
is replaced by a rename. It never changes afterwards, and a rollback is a release of its own.
So `current` names the highest sequence number that was ever released: a folder beyond it is
what an interrupted command left. Old releases lose their model, never their release.json.
"""

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

DEFAULT_FOLDER: Final = "models/releases"
"""Where releases are kept unless the setting RELEASES says otherwise; counts from the repository's root."""
CURRENT: Final = "current"
LOCK_FILE: Final = ".lock"
SERVED_FILE: Final = ".served"
"""Locked, shared, by every service that runs on these releases and may write here."""
MODEL_FILE: Final = "model.onnx"
RELEASE_FILE: Final = "release.json"
FORMAT: Final = 1
KEPT_MODELS: Final = 5
"""How many different models are kept, the newest ones, beside the best one of each name."""
MISSING: Final = "run `make promote` to release the workspace's model, or `make repro` to train one and release it"
"""What to do where there is no release."""
DAMAGED: Final = "run `make promote` to release the workspace's model, or `make rollback` to go back"
"""What to do about a release that cannot be served."""
MAX_BYTES: Final = 1024**3
"""Largest size of a file of a release, unless the setting MAX_ARTIFACT_BYTES says otherwise."""

_FOLDER_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,8})-[0-9a-f]{8}")

Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class ReleaseError(Exception):
    """A release cannot be read: one line that names the file, the reason and the remedy."""


class NoReleaseError(ReleaseError):
    """Nothing has been released yet."""


class Registry(BaseModel):
    """The registered version that was released."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[int, Field(ge=1)]
    run_id: str
    registered_at: AwareDatetime


class Release(BaseModel):
    """Everything that is known of a released model: the content of release.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    name: Annotated[str, Field(min_length=1)]
    """The name in the model registry."""
    onnx_md5: Md5
    """MD5 of model.onnx; the service loads no other bytes."""
    model_md5: Md5 | None
    """MD5 of models/model.joblib; null where it is not known."""
    data_md5: Md5 | None
    """MD5 of data/prepared/train.parquet."""
    table_md5: Md5 | None
    """MD5 of the raw table."""
    metrics_md5: Md5 | None
    """MD5 of metrics/metrics.json."""
    revision: str | None
    """The Git commit that the model was made at."""
    dirty: bool
    """True if the working tree differed from `revision`."""
    verdict: Literal["accepted", "overridden", "rollback", "migrated"]
    reason: str
    overrides: tuple[Literal["gate", "contract", "champion"], ...] = ()
    """The checks that were overridden by their flags."""
    best: str | None = None
    """Folder of the best release of this name so far, which the next one is compared with; null: this one."""
    by: str
    """Who made the release."""
    at: AwareDatetime
    """When it was made."""
    metrics: dict[str, float | str | bool | None]
    """The flat object of metrics/metrics.json."""
    params: dict[str, Any]
    """All of params.yaml, as the stages read it."""
    registry: Registry | None
    training_rows: Annotated[int, Field(ge=1)] | None


class _Format(BaseModel):
    """The one field that is read whatever the format."""

    format: int


def folder_name(sequence: int, onnx_md5: str) -> str:
    """Return the name of a release's folder."""
    return f"{sequence}-{onnx_md5[:8]}"


def sequence_of(name: str) -> int | None:
    """Return the sequence number in a folder's name, None if the name is not one of a release."""
    return int(name.partition("-")[0]) if _FOLDER_NAME.fullmatch(name) else None


def find_current(releases: Path) -> Path:
    """Return the folder in service, by reading the link `current` once.

    Raises
    ------
    NoReleaseError
        If there is no `current`.
    ReleaseError
        If `current` is not a link to a release of this folder, or cannot be read.
    """
    link = releases / CURRENT
    try:
        target = str(link.readlink())
    except FileNotFoundError:
        raise NoReleaseError(f"{link}: nothing has been released yet; {MISSING}") from None
    except OSError as error:
        reason = "is not a link" if link.exists() else error.strerror
        raise ReleaseError(f"{link}: {reason}; {DAMAGED}") from None
    if sequence_of(target) is None:
        raise ReleaseError(f"{link}: leads to {target}, expected a release beside it such as 8-5be07c44; {DAMAGED}")
    return releases / target


def load(folder: Path, limit: int = MAX_BYTES) -> Release:
    """Read the release.json of a release's folder. Raises ReleaseError."""
    path = folder / RELEASE_FILE
    content = read_file(path, limit)
    try:
        found = _Format.model_validate_json(content).format
        if found != FORMAT:
            raise ReleaseError(f"{path}: has format {found}, this version reads {FORMAT}; update it, or {DAMAGED}")
        return Release.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise ReleaseError(f"{path}: is damaged: {where}: {first['msg']}; {DAMAGED}") from None


def read_history(releases: Path) -> dict[str, Release]:
    """Return all releases ever made by the name of their folder, oldest first; empty if there is none.

    Raises ReleaseError if one cannot be read.
    """
    return {folder.name: load(folder) for folder in find_released(releases)}


def find_released(releases: Path) -> list[Path]:
    """Return the folders of all releases up to the current one, oldest first; empty if there is none.

    Raises ReleaseError as `find_current`.
    """
    try:
        last = sequence_of(find_current(releases).name) or 0
    except NoReleaseError:
        return []
    numbers = {path: sequence_of(path.name) for path in releases.iterdir()}
    return sorted(
        (path for path, number in numbers.items() if number is not None and number <= last),
        key=lambda path: numbers[path] or 0,
    )


@contextlib.contextmanager
def marked_as_served(releases: Path) -> Iterator[None]:
    """Hold a lock that says that a service is up, so that `make serve` releases nothing beside it.

    A folder that the service may not write in needs no such lock: nobody types `make serve` there.
    """
    try:
        file = (releases / SERVED_FILE).open("w")
    except OSError:
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def is_served(releases: Path) -> bool:
    """Return whether a service runs on these releases."""
    try:
        with (releases / SERVED_FILE).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def read_file(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes. Raises ReleaseError.

    It is opened once, so that the bytes that are checked are the bytes that are used, and
    without waiting, since a pipe would never end.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ReleaseError(f"{path}: is not a regular file; {DAMAGED}")
            if found.st_size > limit:
                raise ReleaseError(f"{path}: has {found.st_size} bytes, MAX_ARTIFACT_BYTES allows {limit}")
            return file.read()
    except FileNotFoundError:
        raise ReleaseError(f"{path}: is missing; {DAMAGED}") from None
    except OSError as error:
        raise ReleaseError(f"{path}: {error.strerror}; {DAMAGED}") from None


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
