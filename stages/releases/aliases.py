"""Bring the registry's aliases in line with the releases: `champion` names the model in service.

The release comes first, so an alias is at most behind: after a kill, or while MLflow is away,
the next command that uses the registry moves it.
"""

from datetime import UTC, datetime
from pathlib import Path

from mlflow.tracking import MlflowClient

from service.release import Registry as RegistryEntry
from service.release import Release
from stages import files
from stages.entry import log
from stages.errors import UserError
from stages.releases import folder
from stages.runs import history as _history
from stages.runs import tracking
from stages.runs.history import Move
from stages.runs.registry import Registry

_BY_HAND = "moved by hand or by another program, noticed at this time"


def open_registry(name: str) -> Registry | None:
    """Return the registry's model `name`; None where there is no store yet. Raises UserError if it does not answer."""
    file = tracking.sqlite_file(tracking.store())
    if file and not file.exists():
        return None
    tracking.open_store(name)
    return Registry(MlflowClient(), name)


def find_version(name: str, onnx_md5: str) -> RegistryEntry | None:
    """Return the version of a model for its release.json; None if the registry has none, or cannot be asked now."""
    try:
        registry = open_registry(name)
        with tracking.told():
            version = registry.find(onnx_md5) if registry else None
    except UserError as error:
        log(f"the release will name no version: {error}")
        return None
    return registry.describe(version) if registry and version else None


def mark(name: str, onnx_md5: str, tags: dict[str, str]) -> None:
    """Set tags on a model's version, where there is one and this clone may change it."""
    if not is_ours():
        return
    try:
        registry = open_registry(name)
        with tracking.told():
            version = registry.find(onnx_md5) if registry else None
            if registry and version:
                registry.mark(version, tags)
    except UserError as error:
        log(f"the registry does not say what became of the model: {error}")


def is_ours() -> bool:
    """Return whether this clone moves the aliases: the store is its own, or RELEASES is set explicitly."""
    file = tracking.sqlite_file(tracking.store())
    return (file is not None and file.is_relative_to(files.root())) or folder.is_explicit()


def follow(releases: Path) -> None:
    """Move the aliases to what the releases say, or say in one line why not. The caller holds the releases' lock."""
    history = folder.history(releases)
    if not history:
        return
    served = list(history.values())[-1]
    try:
        registry = open_registry(served.name)
        if registry is None:
            return
        if not is_ours():
            log(f"the aliases in MLflow at {tracking.shown()} stay: set RELEASES in the one clone that moves them")
            return
        with tracking.told(), tracking.alone("registry"):
            _follow(registry, [release for release in history.values() if release.name == served.name])
    except UserError as error:
        log(f"the alias in the registry is not moved now, the next command does it: {error}")


def _follow(registry: Registry, history: list[Release]) -> None:
    served = history[-1]
    before = [release for release in history if release.onnx_md5 != served.onnx_md5]
    _bring(registry, "champion", served)
    if before:
        _bring(registry, "previous", before[-1])


def _bring(registry: Registry, alias: str, release: Release) -> None:
    """Move one alias to a release's version; delete it if the registry does not know the model."""
    held = registry.holder(alias)
    found = str(held.version) if held else None
    version = registry.find(release.onnx_md5)
    wanted = str(version.version) if version else None
    known = _history.holder(registry.moves(), alias)
    if found not in (known, wanted):
        log(f"somebody moved the alias {alias} of {registry.name} from {known or 'none'} to {found or 'none'} by hand")
        registry.keep(Move(when=datetime.now(UTC), alias=alias, before=known, after=found, why=_BY_HAND))
    if found == wanted:
        if known != found:  # killed before the move was noted
            registry.keep(Move(when=datetime.now(UTC), alias=alias, before=known, after=found, why=release.reason))
        return
    if wanted is None:
        log(f"the registry has no version of the model in service; {registry.name}@{alias} is deleted")
    registry.move(alias, wanted, release.reason, datetime.now(UTC))
