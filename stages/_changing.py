"""What every command does before it changes a folder of releases."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from stages import _aliases, _migration, _releases


@contextlib.contextmanager
def changing(releases: Path, name: str | None = None) -> Iterator[None]:
    """Hold the folder's lock, finish what earlier commands or the version before left, align the aliases.

    Parameters
    ----------
    name
        The model whose champion in the registry becomes the first release if there is none; None for no model's.
    """
    with _releases.locked(releases):
        _migration.migrate_volume(releases)
        _releases.tidy(releases)
        if name:
            _migration.migrate_champion(releases, name)
        _aliases.follow(releases)
        yield
