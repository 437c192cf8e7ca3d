"""Find a file by its MD5: in the workspace, in DVC's cache, or in the remote."""

from pathlib import Path

from stages import files
from stages.errors import UserError


def find(path: Path, md5: str, folder: Path) -> Path:
    """Return `path` if it has this MD5, else a copy in `folder` from DVC's cache or remote.

    Raises UserError if no file with this MD5 is found.
    """
    here, copy = files.root() / path, folder / path.name
    if here.is_file() and files.md5(here) == md5:
        return here
    for remote in (False, True):
        if _copy(md5, copy, remote=remote) and files.md5(copy) == md5:
            return copy
    raise UserError(
        f"{path}: no file with MD5 {md5} in the workspace, in DVC's cache or in the remote; "
        "run `make pull`, or `make repro` to make it again"
    )


def _copy(md5: str, to: Path, *, remote: bool) -> bool:
    """Copy a file from DVC's cache or from the default remote; return whether it was there."""
    from dvc.exceptions import DvcException  # noqa: PLC0415  # half a second, seldom needed
    from dvc.repo import Repo  # noqa: PLC0415

    try:
        with Repo(str(files.root())) as repo:
            store = repo.cloud.get_remote_odb() if remote else repo.cache.local
            store.fs.get_file(store.oid_to_path(md5), str(to))
    except (DvcException, OSError):
        return False
    return True
