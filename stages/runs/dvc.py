"""Read dvc.lock (the MD5 of each file and the parameters), and find a file by its MD5."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages import files
from stages.errors import UserError

NEEDED = ("export", "evaluate", "register")
"""Stages that must have run before a model can be released."""


class _File(BaseModel):
    path: str
    md5: str = ""


class _Stage(BaseModel):
    deps: list[_File] = []
    outs: list[_File] = []
    params: dict[str, dict[str, Any]] = {}


class DvcLock(BaseModel):
    """The content of a dvc.lock."""

    stages: dict[str, _Stage]

    def outs(self) -> dict[str, str]:
        """Return the MD5 of every file that a stage writes, by its path."""
        return {out.path: out.md5 for stage in self.stages.values() for out in stage.outs}

    def md5_of(self, path: Path) -> str | None:
        """Return the MD5 of a file that a stage writes or reads; None if no stage does."""
        deps = {dep.path: dep.md5 for stage in self.stages.values() for dep in stage.deps}
        return (deps | self.outs()).get(str(path))

    def params(self) -> dict[str, Any]:
        """Return all parameters that the stages read, with sections as dictionaries."""
        found: dict[str, Any] = {}
        for stage in self.stages.values():
            for key, value in stage.params.get(str(files.PARAMS), {}).items():
                section, _, name = key.partition(".")
                found[section] = found.get(section, {}) | {name: value} if name else value
        return found

    def check(self, source: str) -> None:
        """Raise UserError unless all stages have run on the newest files."""
        for name in NEEDED:
            if name not in self.stages:
                raise UserError(f"{source}: the stage {name} has not run; run `dvc repro`")
        outs = self.outs()
        for name, stage in self.stages.items():
            for dep in stage.deps:
                if outs.get(dep.path, dep.md5) != dep.md5:
                    raise UserError(f"{source}: the stage {name} has not run on the newest {dep.path}; run `dvc repro`")


def parse(text: str, source: str) -> DvcLock:
    """Parse a dvc.lock. Raises UserError, which names `source`, for other text."""
    try:
        return DvcLock.model_validate(YAML(typ="safe", pure=True).load(text))
    except (YAMLError, ValidationError):
        raise UserError(f"{source}: is not a lock file of DVC; run `git checkout dvc.lock` or `dvc repro`") from None


def find(path: Path, md5: str, folder: Path) -> Path:
    """Return `path` if it has this MD5, else a copy in `folder` from DVC's cache or remote.

    Raises UserError if no file with this MD5 is found.
    """
    here, copy = files.root() / path, folder / path.name
    if here.is_file() and files.md5(here) == md5:
        return here
    for remote in (False, True):
        if _copy(md5, copy, remote=remote) and files.md5(copy) == md5:
            return copy
    raise UserError(
        f"{path}: no file with MD5 {md5} in the workspace, in DVC's cache or in the remote; "
        "run `make pull`, or `make repro` to create it"
    )


def _copy(md5: str, to: Path, *, remote: bool) -> bool:
    """Copy a file from DVC's cache or from the default remote; return whether it was there."""
    from dvc.exceptions import DvcException  # noqa: PLC0415  # half a second, seldom needed
    from dvc.repo import Repo  # noqa: PLC0415

    try:
        with Repo(str(files.root())) as repo:
            store = repo.cloud.get_remote_odb() if remote else repo.cache.local
            store.fs.get_file(store.oid_to_path(md5), str(to))
    except (DvcException, OSError):
        return False
    return True
