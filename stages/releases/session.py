"""Open a folder of releases for a command that changes it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from stages.releases import aliases, folder, migration


@contextlib.contextmanager
def open_releases(releases: Path, name: str | None = None) -> Iterator[None]:
    """Lock the folder, migrate data of version 0.1, remove leftovers, and align the aliases.

    Parameters
    ----------
    name
        The registered model whose champion becomes the first release if there is none; None skips this.
    """
    with folder.locked(releases):
        migration.migrate_volume(releases)
        folder.remove_leftovers(releases)
        if name:
            migration.migrate_champion(releases, name)
        aliases.align(releases)
        yield
