"""Where a model to release comes from: the workspace, or a commit. Each with all facts that a release keeps."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from pydantic import BaseModel, ValidationError

import service.model
from service.release import Registry as RegistryEntry
from stages import files
from stages.errors import UserError
from stages.runs import facts as _facts
from stages.runs import git, stored
from stages.runs import lock as _lock
from stages.runs import registry as _registry
from stages.runs.facts import Facts
from stages.runs.lock import Lock
from stages.runs.registry import Registry
from stages.runs.stored import Place
from stages.schema import Split


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be released, its bytes verified."""

    source: str
    """In words, for messages."""
    facts: Facts
    model: service.model.Model
    onnx: Path
    schema: bytes | None
    """The content of its schema.json; None where that is not known any more."""
    place: Place
    """Where its other files are."""
    registry: RegistryEntry | None = None
    """Its version, if it was found by that."""

    @property
    def split(self) -> Split | None:
        """Which rows it was trained on; None where that is not known any more."""
        return parse_split(self.schema)

    def read_test_rows(self) -> pd.DataFrame:
        """Read the test rows. Raises UserError if they are nowhere."""
        if self.facts.test_md5 is None:
            raise UserError(f"{self.source}: nobody knows any more which its test rows were")
        return pd.read_parquet(stored.find(str(files.TEST), self.facts.test_md5, self.place))


def from_workspace(folder: Path) -> Candidate:
    """Return the workspace's model, as its dvc.lock names it. Raises UserError if the files are others."""
    if not files.LOCK.exists():
        raise UserError(f"{files.LOCK}: is missing; run `dvc repro`")
    lock = _parse(files.LOCK.read_text(encoding="utf-8"), str(files.LOCK))
    for path in (files.ONNX, files.METRICS, files.SCHEMA):
        _check_file(path, lock)
    metrics, schema = files.METRICS.read_bytes(), files.SCHEMA.read_bytes()
    facts = _facts.of_lock(lock, metrics, _rows(schema), revision=git.head(), dirty=git.is_dirty())
    return make("the workspace", facts, files.ONNX, schema, Place(None, folder))


def from_commit(name: str, folder: Path) -> Candidate:
    """Return the model of a commit or of an experiment. Raises UserError if its files are nowhere."""
    commit = git.resolve(name)
    contents = {}
    for path in (files.LOCK, files.METRICS, files.SCHEMA):
        content = git.read(commit, str(path))
        if content is None:
            raise UserError(
                f"{name}: its commit {commit[:7]} has no {path}; only a commit with results can be released"
            )
        contents[path] = content
    source = f"{name} (commit {commit[:7]})"
    lock = _parse(contents[files.LOCK].decode(), f"{files.LOCK} of {source}")
    for path in (files.METRICS, files.SCHEMA):
        if files.md5_of(contents[path]) != lock.md5_of(str(path)):
            raise UserError(f"{path} of {source}: is not the file that its dvc.lock names; release another commit")
    facts = _facts.of_lock(lock, contents[files.METRICS], _rows(contents[files.SCHEMA]), revision=commit, dirty=False)
    place = Place(commit, folder)
    onnx = stored.find(str(files.ONNX), facts.onnx_md5, place)
    return make(source, facts, onnx, contents[files.SCHEMA], place)


def from_version(version: ModelVersion, registry: Registry, folder: Path) -> Candidate:
    """Return the model of a registered version, as its run keeps it. Raises UserError if its files are nowhere."""
    source = f"version {version.version} of {registry.name}"
    content = registry.read_artifact(version, _registry.FACTS_FILE, folder)
    if content is None:
        raise UserError(f"{source}: its run has no {_registry.FACTS_FILE}; name its commit instead (--rev or REV=…)")
    facts = Facts.model_validate_json(content.read_bytes())
    onnx = registry.read_artifact(version, _registry.ONNX_FILE, folder)
    schema = registry.read_artifact(version, _registry.SCHEMA_FILE, folder)
    if onnx is None:
        raise UserError(f"{source}: its run has lost {_registry.ONNX_FILE}; register the model again")
    place = Place(facts.revision, folder)
    made = make(source, facts, onnx, schema.read_bytes() if schema else None, place)
    return replace(made, registry=registry.describe(version))


def make(source: str, facts: Facts, onnx: Path, schema: bytes | None, place: Place) -> Candidate:
    """Load the model and put the candidate together. Raises UserError if the file is not the one the facts name."""
    content = onnx.read_bytes()
    if files.md5_of(content) != facts.onnx_md5:
        raise UserError(f"{onnx}: its MD5 is not {facts.onnx_md5}, which {source} names")
    try:
        model = service.model.from_bytes(content, str(onnx))
    except service.model.ArtifactError as error:
        raise UserError(str(error)) from None
    return Candidate(source, facts, model, onnx, schema, place)


class _TrainingRows(BaseModel):
    train: int


class _Parts(BaseModel):
    """What is read of a schema.json, in the form of an earlier version too."""

    split: Split
    rows: _TrainingRows


def parse_split(schema: bytes | None) -> Split | None:
    """Return how the rows were split; None if there is no schema.json, or it does not say so."""
    parts = _parse_parts(schema)
    return parts.split if parts else None


def _parse_parts(schema: bytes | None) -> _Parts | None:
    try:
        return _Parts.model_validate_json(schema) if schema else None
    except ValidationError:
        return None


def _rows(schema: bytes) -> int | None:
    parts = _parse_parts(schema)
    return parts.rows.train if parts else None


def _parse(text: str, source: str) -> Lock:
    lock = _lock.parse(text, source)
    lock.check(source)
    return lock


def _check_file(path: Path, lock: Lock) -> None:
    if not path.exists():
        raise UserError(f"{path}: is missing; run `dvc checkout`, `make pull` or `dvc repro`")
    if files.md5(path) != lock.md5_of(str(path)):
        raise UserError(f"{path}: is not the file that dvc.lock names; run `dvc repro`, or `dvc checkout` to go back")
