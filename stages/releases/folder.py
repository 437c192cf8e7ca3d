"""Write releases. `service.release` defines their format and reads them.

A release is complete before anything names it, and the rename of the link `current` is the
one moment at which it goes into service. Whatever a killed command left behind is removed by
the next one.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv import dotenv_values

from service.release import (
    CURRENT,
    DEFAULT_FOLDER,
    KEPT_MODELS,
    LOCK_FILE,
    MODEL_FILE,
    RELEASE_FILE,
    Release,
    ReleaseError,
    find_current,
    find_released,
    folder_name,
    load,
    read_history,
    sequence_of,
)
from stages import files as _files
from stages.entry import log
from stages.errors import UserError

SCHEMA_FILE = "schema.json"
"""The pipeline's schema.json of the released model, beside its release.json: which rows it was trained on."""
_BESIDE = ".tmp"
_MD5_DIGITS = 32


def is_explicit() -> bool:
    """Return whether RELEASES is set, in the environment or in .env."""
    return bool(_setting())


def folder() -> Path:
    """Return the folder of releases; a relative RELEASES counts from the repository's real root."""
    return _files.root() / (_setting() or DEFAULT_FOLDER)


def _setting() -> str | None:
    file = os.environ.get("ENV_FILE") or _files.root() / ".env"
    return os.environ.get("RELEASES") or dotenv_values(file, interpolate=False).get("RELEASES")


@contextlib.contextmanager
def locked(releases: Path) -> Iterator[None]:
    """Hold the lock of a folder of releases, made if it is not there. Others wait; a killed holder frees it."""
    with _errors_as_lines():
        releases.mkdir(parents=True, exist_ok=True)
        with (releases / LOCK_FILE).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log("another command is changing the releases; waiting until it is done")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def _errors_as_lines() -> Iterator[None]:
    try:
        yield
    except ReleaseError as error:
        raise UserError(str(error)) from None


def current(releases: Path) -> tuple[str, Release] | None:
    """Return the folder's name and the release in service, None if nothing was released yet."""
    if not (releases / CURRENT).is_symlink():
        return None
    found = find_current(releases)
    return found.name, load(found)


def history(releases: Path) -> dict[str, Release]:
    """Return all releases by the name of their folder, oldest first. Raises UserError if one cannot be read."""
    with _errors_as_lines():
        return read_history(releases)


def write(releases: Path, release: Release, files: Mapping[str, Path | bytes]) -> str:
    """Write a release and put it into service; return the name of its folder. The caller holds the lock.

    Parameters
    ----------
    files
        Content by name: `MODEL_FILE` and, where there is one, `SCHEMA_FILE`. Copied, never linked:
        DVC's cache may lose what it holds.
    """
    name = folder_name(_next_number(releases), release.onnx_md5)
    beside = releases / f"{name}{_BESIDE}"
    for left in (beside, releases / name):  # by a killed migration, which nothing tidied up before
        shutil.rmtree(left, ignore_errors=True)
    beside.mkdir()
    for file, content in files.items():
        _write(beside / file, content.read_bytes() if isinstance(content, Path) else content)
    _write(beside / RELEASE_FILE, release.model_dump_json(indent=2).encode() + b"\n")
    if _files.md5(beside / MODEL_FILE) != release.onnx_md5:
        raise UserError(f"{beside / MODEL_FILE}: is not the model that was checked; run the command again")
    _sync(beside)
    beside.rename(releases / name)
    _sync(releases)
    link = releases / f"{CURRENT}{_BESIDE}"
    link.symlink_to(name)
    link.replace(releases / CURRENT)  # the moment at which it is in service
    _sync(releases)
    _prune(releases)
    return name


def is_of_version_before(releases: Path) -> bool:
    """Return whether `current` leads to a folder as the trainer's container published it before there were releases."""
    link = releases / CURRENT
    return link.is_symlink() and len(link.readlink().name) == _MD5_DIGITS


def _next_number(releases: Path) -> int:
    last = [] if is_of_version_before(releases) else find_released(releases)
    return (sequence_of(last[-1].name) or 0) + 1 if last else 1


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    """Make sure that names in a folder outlast a loss of power."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def tidy(releases: Path) -> None:
    """Remove what killed commands left: folders that are half written, or that `current` never named."""
    known = set(find_released(releases))
    numbers = [number for path in releases.iterdir() if (number := sequence_of(path.name)) is not None]
    if not known and max(numbers, default=1) > 1:
        raise UserError(
            f"{releases / CURRENT}: is missing, but there are releases; make it again: ln -s FOLDER {CURRENT}"
        )
    for path in [*releases.iterdir()]:
        if path.name == f"{CURRENT}{_BESIDE}":
            path.unlink()
        elif path.name.endswith(_BESIDE) or (sequence_of(path.name) is not None and path not in known):
            shutil.rmtree(path)


def find_model(releases: Path, released: Mapping[str, Release], md5: str) -> Path | None:
    """Return the newest file of the model with this MD5 among all releases, None if it was deleted."""
    names = [name for name, release in released.items() if release.onnx_md5 == md5]
    files = [releases / name / MODEL_FILE for name in reversed(names)]
    return next((path for path in files if path.exists()), None)


def _prune(releases: Path) -> None:
    """Delete models but for the newest different ones and the best of each name, each in its newest folder."""
    released = read_history(releases)
    newest = list(dict.fromkeys(release.onnx_md5 for release in reversed(released.values())))[:KEPT_MODELS]
    best = {release.name: release.best or name for name, release in released.items()}
    models = {*newest, *(released[name].onnx_md5 for name in best.values())}
    kept = {find_model(releases, released, md5) for md5 in models}
    for name in released:
        model = releases / name / MODEL_FILE
        if model not in kept:
            model.unlink(missing_ok=True)
