"""Convert the data of version 0.1 to releases: the trainer's volume, and the registry's champion."""

import ast
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mlflow.entities import RunData
from mlflow.entities.model_registry import ModelVersion

from service.release import CURRENT, MODEL_FILE, ModelRecord, Release
from service.release import Registry as RegistryEntry
from stages import files
from stages.entry import log
from stages.errors import UserError
from stages.params.params import Params
from stages.releases import aliases, folder
from stages.runs import dvc, git, registry, tracking
from stages.runs.registry import Registry
from stages.runs.run_record import record_from_lock

_NOT_IN_METRICS_JSON = ("training_", "predict_", "fit_seconds")
"""Prefixes of a run's metrics that are not in metrics.json."""


def migrate_volume(releases: Path) -> None:
    """Convert a folder with dvc.lock, model and metrics, to which `current` leads. The caller holds the lock."""
    if folder.is_from_version_0_1(releases):
        old = (releases / CURRENT).resolve()
        lock, metrics, onnx = (old / path for path in (files.LOCK, files.METRICS, files.ONNX))
        if not (lock.exists() and metrics.exists() and onnx.exists()):
            raise UserError(f"{releases / CURRENT}: leads to {old.name}, which lacks files; remove the link")
        parsed = dvc.parse(lock.read_text(encoding="utf-8"), str(lock))
        fields = {"metrics": json.loads(metrics.read_bytes()), "training_rows": None, "revision": None}
        record = record_from_lock(parsed, **fields, dirty=True)
        reason = f"was in service as {old.name}"
        name = folder.write(releases, _release(record, reason), {MODEL_FILE: onnx})
        log(f"release {name} of {record.name} is the model that was in service before")
    for path in releases.iterdir():
        if (path / files.LOCK).exists():
            shutil.rmtree(path)


def migrate_champion(releases: Path, name: str) -> None:
    """Release the champion of this clone's registry, if nothing was released yet. The caller holds the lock.

    If its file is not found, log one line.
    """
    if folder.current(releases) or not aliases.is_ours():
        return
    with tracking.errors_as_line():
        registered = aliases.open_registry(name)
        version = registered.holder("champion") if registered else None
        if registered is None or version is None:
            return
        try:
            with tempfile.TemporaryDirectory() as temporary:
                _migrate_version(releases, registered, version, Path(temporary))
        except UserError as error:
            log(f"version {version.version} was champion of {name} and cannot be released: {error}")


def _migrate_version(releases: Path, registered: Registry, version: ModelVersion, temporary: Path) -> None:
    run = registered.client.get_run(str(version.run_id)).data
    record = _record_of(registered.name, run, version.tags)
    content: dict[str, Path | bytes | None] = {
        MODEL_FILE: registered.read_artifact(version, registry.ONNX_FILE, temporary)
        or dvc.find(files.ONNX, record.onnx_md5, temporary),
        folder.SCHEMA_FILE: git.read(record.revision, str(files.SCHEMA)) if record.revision else None,
    }
    reason = f"version {version.version} of {registered.name}, which was champion"
    name = folder.write(releases, _release(record, reason, registry.describe(version)), content)
    log(f"release {name} of {record.name} is {reason}")


def _release(record: ModelRecord, reason: str, version: RegistryEntry | None = None) -> Release:
    return folder.make_release(record, verdict="migrated", reason=reason, registry=version)


def _record_of(name: str, run: RunData, tags: dict[str, str]) -> ModelRecord:
    revision, rows = run.tags.get(tracking.REVISION), tags.get(registry.TRAINING_ROWS)
    return ModelRecord(
        name=name,
        onnx_md5=tags[tracking.ONNX_MD5],
        model_md5=tags.get(tracking.MODEL_MD5),
        data_md5=run.tags.get(tracking.DATA_MD5),
        table_md5=None,
        metrics_md5=None,
        revision=None if revision == tracking.NONE else revision,
        dirty=True,  # unknown
        metrics={key: value for key, value in run.metrics.items() if not key.startswith(_NOT_IN_METRICS_JSON)},
        params=_params_of(run.params),
        training_rows=int(rows) if rows else None,
    )


def _params_of(logged: dict[str, str]) -> dict[str, Any]:
    """Return a run's params.yaml; MLflow has it as text by dotted names, with the estimator's parameters."""
    found: dict[str, Any] = {}
    for key, text in logged.items():
        section, _, name = key.partition(".")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        if name:
            found.setdefault(section, {})[name] = value
        elif key in Params.model_fields:
            found[key] = value
    return found
