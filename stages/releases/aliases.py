"""Align the registry's aliases with the releases: `champion` names the model in service.

The release is written first. If a command is killed before it moves the aliases, or MLflow is
down, the next command that uses the registry moves them.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mlflow.tracking import MlflowClient

from service.release import Registry as RegistryEntry
from service.release import Release, read_history
from stages import files
from stages.entry import log
from stages.errors import UserError
from stages.releases import folder
from stages.runs import pages, tracking
from stages.runs.registry import Registry, describe, last_holder

_BY_HAND = "moved by hand or by another program; the time is when this was noticed"


def open_registry(name: str) -> Registry | None:
    """Return the registered model `name`; None if there is no store yet. Raises UserError if it does not answer."""
    file = tracking.sqlite_file(tracking.store_uri())
    if file and not file.exists():
        return None
    tracking.open_store(name)
    return Registry(MlflowClient(), name)


@contextlib.contextmanager
def log_errors(consequence: str) -> Iterator[None]:
    """Log a registry error in the block as one line, `consequence` first, and continue."""
    try:
        with tracking.errors_as_line():
            yield
    except UserError as error:
        log(f"{consequence}: {error}")


def find_version(name: str, onnx_md5: str) -> RegistryEntry | None:
    """Return a model's version for release.json; None if there is none, or the registry does not answer."""
    with log_errors("the release does not name its version"):
        registry = open_registry(name)
        version = registry.find(onnx_md5) if registry else None
        return describe(version) if version else None
    return None


def set_tags(name: str, onnx_md5: str, tags: dict[str, str]) -> None:
    """Set tags on a model's version, if there is one and this clone moves the aliases."""
    if not is_ours():
        return
    with log_errors("the outcome is not in the registry"):
        registry = open_registry(name)
        version = registry.find(onnx_md5) if registry else None
        if registry and version:
            registry.set_tags(version, tags)


def is_ours() -> bool:
    """Return whether this clone moves the aliases: the store is its own, or RELEASES is set explicitly."""
    file = tracking.sqlite_file(tracking.store_uri())
    return (file is not None and file.is_relative_to(files.root())) or folder.is_explicit()


def align(releases: Path) -> None:
    """Move `champion` and `previous` to the released models, or log why not. The caller holds the folder's lock."""
    history = list(read_history(releases).values())
    if not history:
        return
    served = history[-1]
    before = [each for each in history if each.name == served.name and each.onnx_md5 != served.onnx_md5]
    with log_errors("the aliases in the registry are not moved; the next command moves them"):
        registry = open_registry(served.name)
        if registry is None:
            return
        if not is_ours():
            uri = tracking.public_uri()
            log(f"the aliases in MLflow at {uri} are not moved: set RELEASES in the one clone that moves them")
            return
        with tracking.locked("registry"):
            _align(registry, "champion", served)
            if before:
                _align(registry, "previous", before[-1])
            if registry.moves():
                registry.describe(pages.describe_model(served))


def _align(registry: Registry, alias: str, release: Release) -> None:
    """Move one alias to a release's version; delete it if the registry does not have the model."""
    holder, version = registry.holder(alias), registry.find(release.onnx_md5)
    found, wanted = (str(each.version) if each else None for each in (holder, version))
    known = last_holder(registry.moves(), alias)
    if found not in (known, wanted):
        log(f"somebody moved the alias {alias} of {registry.name} from {known or 'none'} to {found or 'none'} by hand")
        registry.add_move(alias, known, found, _BY_HAND)
    if found != wanted:
        if wanted is None:
            log(f"the registry has no version of the model in service; {registry.name}@{alias} is deleted")
        registry.move(alias, wanted, release.reason)
    elif known != found:  # killed before the move was added to the history
        registry.add_move(alias, known, found, release.reason)
