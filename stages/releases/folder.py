"""Write releases. `service.release` defines their format and reads them.

A release is written completely before the link `current` is renamed, which puts it into service
in one step. The next command removes what a killed one left behind.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from service.release import (
    CURRENT,
    DEFAULT_FOLDER,
    MODEL_FILE,
    RELEASE_FILE,
    SERVED_FILE,
    ModelRecord,
    Release,
    ReleaseError,
    find_released,
    read_history,
    sequence_of,
)
from stages import files
from stages.entry import log
from stages.errors import UserError
from stages.runs import git

SCHEMA_FILE = "schema.json"
"""The pipeline's schema.json of the released model, next to its release.json: which rows it was trained on."""
_LOCK_FILE = ".lock"
_KEPT_MODELS = 5
"""How many of the newest models are kept, in addition to the best one of each name."""
_UNFINISHED = ".tmp"
_MD5_DIGITS = 32


def is_explicit() -> bool:
    """Return whether RELEASES is set, in the environment or in .env."""
    return bool(_setting())


def folder() -> Path:
    """Return the folder of releases; a relative RELEASES starts at the repository's real root."""
    return files.root() / (_setting() or DEFAULT_FOLDER)


def _setting() -> str | None:
    file = os.environ.get("ENV_FILE") or files.root() / ".env"
    return os.environ.get("RELEASES") or dotenv_values(file, interpolate=False).get("RELEASES")


def is_served(releases: Path) -> bool:
    """Return whether a running service uses these releases."""
    try:
        with (releases / SERVED_FILE).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def locked(releases: Path) -> Iterator[None]:
    """Lock a folder of releases, which is created if necessary. Other commands wait; a kill releases the lock.

    Raises UserError if a release cannot be read in the block.
    """
    try:
        releases.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{releases}: is not a folder and cannot be created: {error.strerror}; set RELEASES") from None
    try:
        with (releases / _LOCK_FILE).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log("another command is changing the releases; waiting until it is done")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except ReleaseError as error:
        raise UserError(str(error)) from None


def current(releases: Path) -> tuple[str, Release] | None:
    """Return the folder's name and the release in service; None if nothing was released yet."""
    return next(reversed(read_history(releases).items()), None)


def make_release(found: ModelRecord, **fields: Any) -> Release:
    """Return a release of a model, made now by this user; `fields` are the other fields of `Release`."""
    model = found.model_dump(include=set(ModelRecord.model_fields))
    return Release(**model, by=git.user(), at=datetime.now(UTC), **fields)


def write(releases: Path, release: Release, content: Mapping[str, Path | bytes | None]) -> str:
    """Write a release and put it into service; return the name of its folder. The caller holds the lock.

    Parameters
    ----------
    content
        `MODEL_FILE` and, if they are known, `SCHEMA_FILE` and `SLICES_FILE`. Copied, never linked: DVC may delete
        files in its cache.
    """
    name = f"{_next_number(releases)}-{release.onnx_md5[:8]}"
    unfinished = releases / f"{name}{_UNFINISHED}"
    for leftover in (unfinished, releases / name):  # of a killed migration, which runs before `remove_leftovers`
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir()
    for file, value in content.items():
        if value is not None:
            _write(unfinished / file, value.read_bytes() if isinstance(value, Path) else value)
    _write(unfinished / RELEASE_FILE, release.model_dump_json(indent=2).encode() + b"\n")
    if files.md5(unfinished / MODEL_FILE) != release.onnx_md5:
        raise UserError(f"{unfinished / MODEL_FILE}: is no longer the model that was checked; run the command again")
    _sync(unfinished)
    unfinished.rename(releases / name)
    _sync(releases)
    link = releases / f"{CURRENT}{_UNFINISHED}"
    link.symlink_to(name)
    link.replace(releases / CURRENT)  # from here on it is in service
    _sync(releases)
    _delete_old_models(releases)
    return name


def is_from_version_0_1(releases: Path) -> bool:
    """Return whether `current` leads to a folder that the trainer container of version 0.1 published."""
    link = releases / CURRENT
    return link.is_symlink() and len(link.readlink().name) == _MD5_DIGITS


def _next_number(releases: Path) -> int:
    last = [] if is_from_version_0_1(releases) else find_released(releases)
    return (sequence_of(last[-1].name) or 0) + 1 if last else 1


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    """Write a folder's entries to the disk, so that they survive a power failure."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(releases: Path) -> None:
    """Remove what killed commands left: unfinished folders, and those that `current` never led to."""
    known = set(find_released(releases))
    numbers = {path: sequence_of(path.name) for path in releases.iterdir()}
    if not known and max(filter(None, numbers.values()), default=1) > 1:
        raise UserError(f"{releases / CURRENT}: is missing, but there are releases; restore it: ln -s FOLDER {CURRENT}")
    for path, number in numbers.items():
        if path.name == f"{CURRENT}{_UNFINISHED}":
            path.unlink()
        elif path.name.endswith(_UNFINISHED) or (number is not None and path not in known):
            shutil.rmtree(path)


def find_model(releases: Path, released: Mapping[str, Release], md5: str) -> Path | None:
    """Return the newest file of the model with this MD5 in all releases; None if it was deleted."""
    paths = [releases / name / MODEL_FILE for name, release in released.items() if release.onnx_md5 == md5]
    return next((path for path in reversed(paths) if path.exists()), None)


def _delete_old_models(releases: Path) -> None:
    """Delete old models; keep the newest `_KEPT_MODELS` and the best of each name, each in its newest folder."""
    released = read_history(releases)
    newest = list(dict.fromkeys(release.onnx_md5 for release in reversed(released.values())))[:_KEPT_MODELS]
    best = {release.name: release.best or name for name, release in released.items()}
    models = {*newest, *(released[name].onnx_md5 for name in best.values())}
    kept = {find_model(releases, released, md5) for md5 in models}
    for name in released:
        model = releases / name / MODEL_FILE
        if model not in kept:
            model.unlink(missing_ok=True)
