"""Find a file by its MD5: in the workspace, in DVC's cache, or in the remote."""

from dataclasses import dataclass
from pathlib import Path

from stages import files
from stages.errors import UserError


@dataclass(frozen=True, slots=True)
class Place:
    """Where files that are not in the workspace come from, and go to."""

    commit: str | None
    """A commit whose dvc.lock names them; None for the workspace's."""
    folder: Path
    """A temporary folder."""


def find(path: str, md5: str, place: Place) -> Path:
    """Return a file that has the content with this MD5; `path` is where the pipeline writes it.

    Raises UserError if it is nowhere.
    """
    for candidate in (files.root() / path, _cached(md5)):
        if candidate and candidate.is_file() and files.md5(candidate) == md5:
            return candidate
    fetched = place.folder / Path(path).name
    if _fetch(path, place.commit, fetched) and files.md5(fetched) == md5:
        return fetched
    raise UserError(
        f"{path}: the file with MD5 {md5} is neither here, nor in DVC's cache, nor in the remote; "
        "run `make pull`, or `make repro` to make it again"
    )


def _cached(md5: str) -> Path | None:
    from dvc.exceptions import NotDvcRepoError  # noqa: PLC0415  # half a second, seldom needed
    from dvc.repo import Repo  # noqa: PLC0415

    try:
        with Repo(str(files.root())) as repo:
            return Path(repo.cache.local.oid_to_path(md5))
    except NotDvcRepoError:
        return None


def _fetch(path: str, commit: str | None, target: Path) -> bool:
    """Copy a file of a commit from the remote; return whether that worked."""
    import dvc.api  # noqa: PLC0415
    from dvc.exceptions import DvcException  # noqa: PLC0415
    from dvc.scm import SCMError  # noqa: PLC0415

    try:
        dvc.api.DVCFileSystem(str(files.root()), rev=commit).get_file(path, str(target))
    except (DvcException, SCMError, OSError):
        return False
    return True
