"""Turn what the version before kept into releases: its volume of published files, and its champion."""

import ast
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow.entities import RunData
from mlflow.entities.model_registry import ModelVersion

from service.release import CURRENT, MODEL_FILE, Release
from service.release import Registry as RegistryEntry
from stages import files as _files
from stages.entry import log
from stages.errors import UserError
from stages.params import Params
from stages.releases import aliases
from stages.releases import folder as _releases
from stages.runs import facts as _facts
from stages.runs import git, stored, tracking
from stages.runs import lock as _lock
from stages.runs import registry as _registry
from stages.runs.facts import Facts
from stages.runs.registry import Registry
from stages.runs.stored import Place

_NOT_OF_METRICS_JSON = ("training_", "predict_", "fit_seconds")
"""Metrics of a run that were never in metrics.json begin so."""


def migrate_volume(releases: Path) -> None:
    """Replace the link to a folder with dvc.lock, model and metrics by one to a release. The caller holds the lock."""
    if _releases.is_of_version_before(releases):
        old = (releases / CURRENT).resolve()
        lock, metrics, onnx = (old / path for path in (_files.LOCK, _files.METRICS, _files.ONNX))
        if not (lock.exists() and metrics.exists() and onnx.exists()):
            raise UserError(f"{releases / CURRENT}: leads to {old.name}, which lacks files; remove the link")
        parsed = _lock.parse(lock.read_text(encoding="utf-8"), str(lock))
        facts = _facts.of_lock(parsed, metrics.read_bytes(), None, revision=None, dirty=True)
        name = _write(releases, facts, {MODEL_FILE: onnx}, f"was in service as {old.name}", None)
        log(f"release {name} of {facts.name} is the model that was in service before")
    for folder in releases.iterdir():
        if (folder / _files.LOCK).exists():
            shutil.rmtree(folder)


def migrate_champion(releases: Path, name: str) -> None:
    """Make a release of the champion of a store of this clone, where nothing was released yet. The caller as above.

    If its file is nowhere any more, says so in one line: then there is nothing to go on with.
    """
    if _releases.current(releases) or not aliases.is_ours():
        return
    registry = aliases.open_registry(name)
    if registry is None:
        return
    with tracking.told():
        version = registry.holder("champion")
        if version is None:
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                _migrate_version(releases, registry, version, Path(folder))
        except UserError as error:
            log(f"version {version.version} was champion of {name} and cannot be released: {error}")


def _migrate_version(releases: Path, registry: Registry, version: ModelVersion, folder: Path) -> None:
    run = registry.client.get_run(str(version.run_id)).data
    revision = run.tags.get(tracking.REVISION, tracking.NONE)
    commit = None if revision == tracking.NONE else revision
    facts = _facts_of_run(registry.name, run, version.tags, commit)
    onnx = registry.read_artifact(version, _registry.ONNX_FILE, folder)
    if onnx is None:
        onnx = stored.find(str(_files.ONNX), facts.onnx_md5, Place(commit, folder))
    schema = git.read(commit, str(_files.SCHEMA)) if commit else None
    reason = f"version {version.version} of {registry.name}, which was champion"
    name = _write(
        releases, facts, {MODEL_FILE: onnx, _releases.SCHEMA_FILE: schema}, reason, registry.describe(version)
    )
    log(f"release {name} of {facts.name} is {reason}")


def _facts_of_run(name: str, run: RunData, tags: dict[str, str], commit: str | None) -> Facts:
    rows = tags.get(_registry.TRAINING_ROWS)
    return Facts(
        name=name,
        onnx_md5=tags[tracking.ONNX_MD5],
        model_md5=tags.get(tracking.MODEL_MD5),
        data_md5=run.tags.get(tracking.DATA_MD5),
        test_md5=None,
        table_md5=None,
        metrics_md5=None,
        revision=commit,
        dirty=True,  # nobody noted whether it was
        metrics={key: value for key, value in run.metrics.items() if not key.startswith(_NOT_OF_METRICS_JSON)},
        params=_params_of(run.params),
        training_rows=int(rows) if rows else None,
    )


def _params_of(logged: dict[str, str]) -> dict[str, Any]:
    """Return the params.yaml of a run, which MLflow keeps as texts by dotted names, beside the estimator's own."""
    found: dict[str, Any] = {}
    for key, text in logged.items():
        section, _, name = key.partition(".")
        value = _value(text)
        if name:
            found.setdefault(section, {})[name] = value
        elif key in Params.model_fields:
            found[key] = value
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _write(
    releases: Path, facts: Facts, files: dict[str, Path | bytes | None], reason: str, version: RegistryEntry | None
) -> str:
    release = Release(
        **facts.model_dump(exclude={"test_md5"}),
        verdict="migrated",
        reason=reason,
        by=git.user(),
        at=datetime.now(UTC),
        registry=version,
    )
    return _releases.write(releases, release, {name: content for name, content in files.items() if content is not None})
