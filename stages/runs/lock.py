"""Read dvc.lock: which bytes belong together, and the parameters that they were made with."""

from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages import files as _files
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


class Lock(BaseModel):
    """The content of a dvc.lock."""

    stages: dict[str, _Stage]

    def md5_of(self, path: str) -> str | None:
        """Return the MD5 of a file that a stage writes or, if none does, reads."""
        stages = self.stages.values()
        files = [file for stage in stages for file in stage.outs] + [file for stage in stages for file in stage.deps]
        return next((file.md5 for file in files if file.path == path), None)

    def params(self) -> dict[str, Any]:
        """Return all parameters that the stages read, sections as dictionaries."""
        found: dict[str, Any] = {}
        for stage in self.stages.values():
            for key, value in stage.params.get(str(_files.PARAMS), {}).items():
                section, _, name = key.partition(".")
                if name:
                    found[section] = found.get(section, {}) | {name: value}
                else:
                    found[key] = value
        return found

    def check(self, source: str) -> None:
        """Raise UserError unless one complete run of the pipeline wrote all of it."""
        for name in NEEDED:
            if name not in self.stages:
                raise UserError(f"{source}: the stage {name} has not run; run `dvc repro`")
        written = {file.path: file.md5 for stage in self.stages.values() for file in stage.outs}
        for name, stage in self.stages.items():
            for dep in stage.deps:
                if dep.path in written and written[dep.path] != dep.md5:
                    raise UserError(
                        f"{source}: the stage {name} has not seen the newest {dep.path}; run `dvc repro` to the end"
                    )


def parse(text: str, source: str) -> Lock:
    """Parse a dvc.lock. Raises UserError that names `source` if the text is none."""
    try:
        return Lock.model_validate(YAML(typ="safe", pure=True).load(text))
    except (YAMLError, ValidationError):
        raise UserError(f"{source}: is not a lock file of DVC; run `git checkout dvc.lock` or `dvc repro`") from None
