"""The format of a release, and how to read one.

The folder of releases has one folder for each release, whose name is its sequence number and the
first 8 digits of the model's MD5, and a relative link `current` to the release in service::

    models/releases/
        .lock                 exclusive lock of a command that changes this folder
        .served               shared lock of each running service
        7-0f3c9a12/           release.json, model.onnx, slices.csv
        8-5be07c44/           release.json, model.onnx, slices.csv
        current -> 8-5be07c44

A release is written under another name and renamed. It becomes current when a rename replaces
`current`. Afterwards it never changes; a rollback makes a new release. So `current` always has the
highest sequence number that was released. A folder with a higher one comes from an interrupted
command. Old releases lose their model, but keep their release.json.
"""

import contextlib
import fcntl
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

DEFAULT_FOLDER: Final = "models/releases"
"""The default of the setting RELEASES, relative to the root of the repository."""
CURRENT: Final = "current"
SERVED_FILE: Final = ".served"
"""Every running service with write access has a shared lock on this file."""
MODEL_FILE: Final = "model.onnx"
RELEASE_FILE: Final = "release.json"
SLICES_FILE: Final = "slices.csv"
"""Copy of metrics/slices.csv, if it is known: how well the model does on parts of the test rows."""
FORMAT: Final = 1
MISSING: Final = "run `make promote` to release the workspace's model, or `make repro` to train one and release it"
"""The remedy if there is no release."""
DAMAGED: Final = "run `make promote` to release the workspace's model, or `make rollback` to go back"
"""The remedy if a release cannot be served."""

_FOLDER_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,8})-[0-9a-f]{8}")

Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class ReleaseError(Exception):
    """A release cannot be read. The message is one line with the file, the reason and the remedy."""


class NoReleaseError(ReleaseError):
    """Nothing has been released yet."""


class Registry(BaseModel):
    """The version in the model registry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[int, Field(ge=1)]
    run_id: str
    registered_at: AwareDatetime


class ModelRecord(BaseModel):
    """A trained model: its name, the MD5s of its files, its metrics and parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    """The name in the model registry."""
    onnx_md5: Md5
    """MD5 of model.onnx; the service loads no other bytes."""
    model_md5: Md5 | None
    """MD5 of models/model.joblib; null if it is not known."""
    data_md5: Md5 | None
    """MD5 of data/prepared/train.parquet."""
    table_md5: Md5 | None
    """MD5 of the raw table."""
    metrics_md5: Md5 | None
    """MD5 of metrics/metrics.json."""
    revision: str | None
    """The Git commit at which the model was trained."""
    dirty: bool
    """True if the working tree differed from `revision`."""
    metrics: dict[str, float | str | bool | None]
    """The flat object of metrics/metrics.json."""
    params: dict[str, Any]
    """All of params.yaml, as the stages read it."""
    training_rows: Annotated[int, Field(ge=1)] | None


class Release(ModelRecord):
    """The content of release.json: the model, and who released it when and why."""

    format: Literal[1] = FORMAT
    verdict: Literal["accepted", "overridden", "rollback", "migrated"]
    reason: str
    overrides: tuple[Literal["gate", "contract", "champion"], ...] = ()
    """The checks that the user overrode."""
    best: str | None = None
    """Folder of the best release of this name so far, with which the next one is compared; null means this one."""
    by: str
    """Who made the release."""
    at: AwareDatetime
    """When it was made."""
    registry: Registry | None


class _Format(BaseModel):
    """The field that every format has."""

    format: int


def sequence_of(name: str) -> int | None:
    """Return the sequence number in the name of a release's folder, or None for another name."""
    return int(name.partition("-")[0]) if _FOLDER_NAME.fullmatch(name) else None


def find_current(releases: Path) -> Path:
    """Return the folder of the release in service.

    Raises NoReleaseError if there is no `current`, and ReleaseError if it is not a link to a release in this folder.
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
        raise ReleaseError(f"{link}: links to {target}, expected a release beside it such as 8-5be07c44; {DAMAGED}")
    return releases / target


def load(folder: Path) -> Release:
    """Load release.json from a release's folder. Raises ReleaseError."""
    path = folder / RELEASE_FILE
    content = read_file(path)
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
    """Return all releases by the names of their folders, oldest first.

    Raises ReleaseError if one cannot be read.
    """
    return {folder.name: load(folder) for folder in find_released(releases)}


def find_released(releases: Path) -> list[Path]:
    """Return the folders of all releases up to the current one, oldest first.

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
    """Keep a shared lock while a service runs, so that `make serve` doesn't release a new model meanwhile.

    Without write access to the folder there is no lock, but then `make serve` can't release either.
    """
    try:
        file = (releases / SERVED_FILE).open("w")
    except OSError:
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def read_file(path: Path) -> bytes:
    """Read a file of a release. Raises ReleaseError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ReleaseError(f"{path}: is missing; {DAMAGED}") from None
    except OSError as error:
        raise ReleaseError(f"{path}: {error.strerror}; {DAMAGED}") from None
