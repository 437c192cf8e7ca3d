"""Find a model to release: the workspace's, a commit's, or a registered version."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from pydantic import ValidationError

import service.model
from service.release import Registry as RegistryEntry
from stages import files
from stages.errors import UserError
from stages.runs import dvc, git, registry
from stages.runs.registry import Registry
from stages.runs.run_record import RunRecord, record_from_lock
from stages.schema import Split


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be released, its bytes verified."""

    source: str
    """Where it was found, for messages."""
    record: RunRecord
    model: service.model.Model
    onnx: Path
    schema: bytes | None
    """The content of its schema.json; None if it was deleted."""
    slices: bytes | None
    """The content of its slices.csv; None if it was deleted, or made by an earlier version."""
    folder: Path
    """A temporary folder for its other files."""
    registry: RegistryEntry | None = None
    """Its version in the registry, if it was found by its version."""

    @property
    def split(self) -> Split | None:
        """Which rows it was trained on; None if this is unknown."""
        return parse_split(self.schema)

    def read_test_rows(self) -> pd.DataFrame:
        """Read the test rows. Raises UserError if no copy is found."""
        if self.record.test_md5 is None:
            raise UserError(f"{self.source}: its record does not name its test rows")
        return pd.read_parquet(dvc.find(files.TEST, self.record.test_md5, self.folder))


def from_workspace(folder: Path) -> Candidate:
    """Return the workspace's model. Raises UserError if a file is missing or differs from dvc.lock."""
    paths = (files.LOCK, files.METRICS, files.SCHEMA, files.SLICES, files.ONNX)
    contents = {path: path.read_bytes() if path.exists() else None for path in paths}
    return _from_lock("the workspace", contents, folder, git.head(), dirty=git.is_dirty())


def from_commit(name: str, folder: Path) -> Candidate:
    """Return the model of a commit or an experiment. Raises UserError if a file is not found."""
    commit = git.resolve(name)
    contents = {path: git.read(commit, str(path)) for path in (files.LOCK, files.METRICS, files.SCHEMA, files.SLICES)}
    return _from_lock(f"{name} (commit {commit[:7]})", contents, folder, commit, dirty=False)


def _from_lock(
    source: str, contents: dict[Path, bytes | None], folder: Path, revision: str | None, *, dirty: bool
) -> Candidate:
    """Return the model in a dvc.lock. Raises UserError if a file in `contents` is missing or differs from it."""
    remedy = "run `dvc repro`, `dvc checkout` or `make pull`, or name a commit with the results of a run"
    found = {}
    for path, content in contents.items():
        if content is not None:
            found[path] = content
        elif path != files.SLICES:
            raise UserError(f"{path} of {source}: is missing; {remedy}")
    lock = dvc.parse(found.pop(files.LOCK).decode(), f"{files.LOCK} of {source}")
    lock.check(f"{files.LOCK} of {source}")
    for path, content in found.items():
        if files.md5_of(content) != lock.md5_of(path):
            raise UserError(f"{path} of {source}: differs from the MD5 in dvc.lock; {remedy}")
    metrics, rows = json.loads(found[files.METRICS]), json.loads(found[files.SCHEMA])["rows"]["train"]
    record = record_from_lock(lock, metrics=metrics, training_rows=rows, revision=revision, dirty=dirty)
    onnx = dvc.find(files.ONNX, record.onnx_md5, folder)
    return _load(source, record, onnx, found[files.SCHEMA], found.get(files.SLICES), folder)


def from_version(version: ModelVersion, registered: Registry, folder: Path) -> Candidate:
    """Return the model of a registered version, from its run's artifacts. Raises UserError if one is missing."""
    source = f"version {version.version} of {registered.name}"
    content = registered.read_artifact(version, registry.RECORD_FILE, folder)
    if content is None:
        raise UserError(f"{source}: its run has no {registry.RECORD_FILE}; name its commit instead (--rev or REV=…)")
    onnx = registered.read_artifact(version, registry.ONNX_FILE, folder)
    if onnx is None:
        raise UserError(f"{source}: its run has no {registry.ONNX_FILE} any more; register the model again")
    schema, slices = (
        found.read_bytes() if (found := registered.read_artifact(version, name, folder)) else None
        for name in (registry.SCHEMA_FILE, registry.SLICES_FILE)
    )
    record = RunRecord.model_validate_json(content.read_bytes())
    candidate = _load(source, record, onnx, schema, slices, folder)
    return replace(candidate, registry=registry.describe(version))


def _load(  # noqa: PLR0913, PLR0917  # the parts of a candidate
    source: str, record: RunRecord, onnx: Path, schema: bytes | None, slices: bytes | None, folder: Path
) -> Candidate:
    """Load the model. Raises UserError if its file is not the one in the record."""
    content = onnx.read_bytes()
    if files.md5_of(content) != record.onnx_md5:
        raise UserError(f"{onnx}: its MD5 is not {record.onnx_md5}, which {source} names")
    try:
        model = service.model.from_bytes(content, str(onnx))
    except service.model.ArtifactError as error:
        raise UserError(str(error)) from None
    return Candidate(source, record, model, onnx, schema, slices, folder)


def parse_split(schema: bytes | None) -> Split | None:
    """Return how the rows were split; None if there is no schema.json, or it has no valid split."""
    try:
        return Split.model_validate(json.loads(schema or b"{}").get("split"))
    except ValidationError:
        return None
