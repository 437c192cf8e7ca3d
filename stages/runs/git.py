"""Read from Git: the commit, whether the working tree differs, and files of other commits."""

import getpass
import os
import subprocess

from stages import files
from stages.errors import UserError


def _git(*arguments: str) -> bytes | None:
    """Return the output of a Git command; None if it fails, or if there is no Git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


def head() -> str | None:
    """Return the commit of the working tree; None outside a repository or before the first commit."""
    output = _git("rev-parse", "--quiet", "--verify", "HEAD")
    return output.decode().strip() if output else None


def is_dirty() -> bool:
    """Return whether tracked files differ from the commit; True if Git fails."""
    return _git("status", "--porcelain", "--untracked-files=no") != b""


def user() -> str:
    """Return the user's name in Git, else the account's name."""
    name = (_git("var", "GIT_COMMITTER_IDENT") or b"").decode(errors="replace").partition(" <")[0]
    try:
        return name or getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in containers
        return f"user {os.getuid()}"


def resolve(name: str) -> str:
    """Return the commit of a Git revision, or else of the DVC experiment `name`.

    Raises UserError if neither exists, or if several experiments have the name.
    """
    from dvc.scm import SCM, RevError, SCMError, resolve_rev  # noqa: PLC0415  # half a second, seldom needed

    try:
        return str(resolve_rev(SCM(str(files.root())), name))
    except (RevError, SCMError):
        raise UserError(f"{name}: is neither a commit nor one experiment; see `git log` and `dvc exp show`") from None


def read(commit: str, path: str) -> bytes | None:
    """Return the content of a file in a commit; None if the commit has no such file."""
    return _git("show", f"{commit}:{path}")
