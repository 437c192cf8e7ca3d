"""What Git knows: the commit, whether the working tree differs, and files of other commits."""

import getpass
import os
import subprocess

from stages.errors import UserError


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return None


def head() -> str | None:
    """Return the commit of the working tree, None outside a repository or before the first commit."""
    done = _git("rev-parse", "--quiet", "--verify", "HEAD")
    return done.stdout.decode().strip() if done and not done.returncode else None


def is_dirty() -> bool:
    """Return whether tracked files differ from the commit, or there is none."""
    done = _git("status", "--porcelain", "--untracked-files=no")
    return done is None or bool(done.returncode) or bool(done.stdout)


def user() -> str:
    """Return the name that Git commits under, else that of the account."""
    done = _git("var", "GIT_COMMITTER_IDENT")
    name = done.stdout.decode(errors="replace").partition(" <")[0] if done and not done.returncode else ""
    try:
        return name or getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in containers
        return f"user {os.getuid()}"


def resolve(name: str) -> str:
    """Return the commit that `name` stands for: anything that Git knows, or the name of a DVC experiment.

    Raises UserError if there is none, or several experiments have the name.
    """
    done = _git("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
    if done and not done.returncode:
        return done.stdout.decode().strip()
    listed = _git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps")
    lines = listed.stdout.decode().splitlines() if listed else []
    named = {commit for ref, commit in map(str.split, lines) if ref.split("/")[2:] and ref.endswith(f"/{name}")}
    if len(named) == 1:
        return named.pop()
    if named:
        raise UserError(f"{name}: {len(named)} experiments have this name; give the commit instead (`dvc exp show`)")
    raise UserError(f"{name}: is neither a commit nor the name of an experiment; see `git log` and `dvc exp show`")


def read(commit: str, path: str) -> bytes | None:
    """Return the content of a file in a commit, None if it is not there."""
    done = _git("show", f"{commit}:{path}")
    return done.stdout if done and not done.returncode else None
