"""What every command does before it changes a folder of releases."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from stages.releases import aliases, folder, migration


@contextlib.contextmanager
def changing(releases: Path, name: str | None = None) -> Iterator[None]:
    """Hold the folder's lock, finish what earlier commands or the version before left, align the aliases.

    Parameters
    ----------
    name
        The model whose champion in the registry becomes the first release if there is none; None for no model's.
    """
    with folder.locked(releases):
        migration.migrate_volume(releases)
        folder.tidy(releases)
        if name:
            migration.migrate_champion(releases, name)
        aliases.follow(releases)
        yield
