"""The trainer's entry point: run one command in a checkout in a volume; after `dvc repro`, release the model.

The image has the repository in `SOURCE`. If the image changed, the volume `WORKSPACE` gets its files;
models, cache and experiments stay. After `dvc repro` succeeds, `stages.commands.promote` releases the
model into the folder RELEASES, a volume that the service reads. No other command changes what is served.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SOURCE: Final = Path("/src")
WORKSPACE: Final = Path("/workspace")
STORE: Final = Path("/run/secrets/s3.env")
REPRODUCE: Final = ("dvc", "repro")
"""The command after which the model is released."""
PROMOTE: Final = ("python", "-m", "stages.commands.promote")
REFUSED: Final = 3
"""The status of promote if a check refuses the model."""
FAILED: Final = "failed"
"""This file is in the folder of releases if the last command failed; an API that waits for its first model reads it."""


def main(command: list[str]) -> int:
    """Run `command` in the workspace; return its exit status."""
    with lock(WORKSPACE):
        follow(SOURCE, WORKSPACE)
        os.environ.update(cluster())
        ours = store(STORE)
        if ours:
            os.environ.update(ours)
            make_buckets(WORKSPACE / ".dvc/config")
        releases = Path(os.environ["RELEASES"])
        (releases / FAILED).unlink(missing_ok=True)
        adopt(releases)
        status = attempt(command, WORKSPACE)
        if not status and tuple(command[:2]) == REPRODUCE:
            status = promote(releases)
        if status:
            (releases / FAILED).touch()
            report(f"{' '.join(command)!r} failed with status {status}, see above; {in_service(releases)}")
        return status


def report(text: str) -> None:
    """Print a line on stderr, in order with the output of the command."""
    print(f"trainer: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def lock(workspace: Path) -> Iterator[None]:
    """Lock the workspace; a second trainer waits. Locks that a killed trainer left are removed."""
    git = workspace / ".git"
    git.mkdir(exist_ok=True)
    with (git / "trainer.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another trainer is running; waiting until it stops")
            fcntl.flock(file, fcntl.LOCK_EX)
        # DVC checks whether the process of a lock still runs, but in a new container another process may have its id.
        for left in (git / "index.lock", workspace / ".dvc/tmp/rwlock"):
            left.unlink(missing_ok=True)
        yield


def follow(source: Path, workspace: Path) -> None:
    """Copy the files of the image into the workspace, if the image changed.

    Changes in the workspace are kept: commits in a branch ``kept-…``, others in a stash. If this
    is interrupted, the next start does all of it again.
    """
    files = _files(source)
    state = _digest(source, files)
    mark = workspace / ".git" / "image-state"
    if mark.exists() and mark.read_text(encoding="utf-8") == state:
        return
    _git(workspace, "init", "--quiet")
    if mark.exists():
        _keep(workspace)
    if (source / ".git").is_dir():
        _git(workspace, "fetch", "--quiet", "--update-shallow", str(source), "HEAD")
        _git(workspace, "reset", "--quiet", "--hard", "FETCH_HEAD")
    tracked = _git(workspace, "ls-files", "-z").split("\0")
    for name in filter(None, tracked):
        if name not in files:
            (workspace / name).unlink(missing_ok=True)
    for name in files:
        _copy(source / name, workspace / name)
    if not _has_commit(workspace):
        _git(workspace, "add", "--all")
        _git(workspace, "commit", "--quiet", "--message", "The files of the image")
    mark.write_text(state, encoding="utf-8")
    report(f"the workspace is now at {_git(workspace, 'log', '-1', '--format=%h %s').strip()!r}")


def _files(source: Path) -> dict[str, Path]:
    found = (path for path in source.rglob("*") if path.is_file() or path.is_symlink())
    inside = {path.relative_to(source).as_posix(): path for path in sorted(found)}
    return {name: path for name, path in inside.items() if name != ".git" and not name.startswith(".git/")}


def _digest(source: Path, files: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    if (source / ".git").is_dir():
        digest.update(_git(source, "rev-parse", "HEAD").encode())
    for name, path in files.items():
        digest.update(f"{name}\0{path.stat().st_mode & 0o111}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _keep(workspace: Path) -> None:
    if not _has_commit(workspace):
        return
    head = _git(workspace, "rev-parse", "--short", "HEAD").strip()
    # Without a branch, a commit that isn't in the image would be lost.
    _git(workspace, "branch", "--force", f"kept-{head}", "HEAD")
    changes = _git(workspace, "stash", "create").strip()
    if changes:
        message = f"changes on top of {head}, before the image changed"
        _git(workspace, "stash", "store", "--message", message, changes)
        report(f"changes in the workspace are kept: `git stash list` shows {message!r}")


def _has_commit(workspace: Path) -> bool:
    asked = ["git", "rev-parse", "--quiet", "--verify", "HEAD"]
    return subprocess.run(asked, cwd=workspace, stdout=subprocess.DEVNULL, check=False).returncode == 0


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and not target.is_symlink() and target.read_bytes() == source.read_bytes():
        target.chmod(source.stat().st_mode & 0o777 | 0o200)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"trainer: git {arguments[0]} in {folder}: {done.stderr.strip()}")
    return done.stdout


def runs(service: str, port: int) -> bool:
    """Return whether a service of the project runs."""
    try:
        socket.getaddrinfo(service, port)
    except socket.gaierror:
        return False
    return True


def cluster() -> dict[str, str]:
    """Return the address of the project's Dask scheduler, if it runs and the environment names no other."""
    if os.environ.get("DASK_SCHEDULER_ADDRESS") or not runs("scheduler", 8786):
        return {}
    return {"DASK_SCHEDULER_ADDRESS": "tcp://scheduler:8786"}


def store(path: Path) -> dict[str, str]:
    """Return the settings of the project's S3 store, if it runs and the environment names no other."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or not path.exists() or not runs("s3", 8333):
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


def make_buckets(config: Path) -> None:
    """Make the buckets of DVC's remotes, because nobody else makes them in the S3 server of the profile s3."""
    from botocore.exceptions import ClientError  # noqa: PLC0415  # only where the store runs
    from botocore.session import get_session  # noqa: PLC0415

    client = get_session().create_client("s3")
    for bucket in re.findall(r"^\s*url\s*=\s*s3://([^/\s]+)", config.read_text(encoding="utf-8"), re.MULTILINE):
        with contextlib.suppress(ClientError):  # it exists already; DVC reports any other error itself
            client.create_bucket(Bucket=bucket)


def attempt(command: list[str], workspace: Path) -> int:
    """Run `command`; restore params.yaml after an experiment that failed, which DVC would leave changed."""
    params = workspace / "params.yaml"
    before = params.read_bytes()
    status = run(command, workspace)
    if status and command[0] == "dvc" and params.read_bytes() != before:
        params.write_bytes(before)
        report("params.yaml is restored")
    return status


def run(command: list[str], folder: Path) -> int:
    """Run `command` until it ends; pass SIGTERM on to it."""
    with subprocess.Popen(command, cwd=folder) as process:
        on_sigterm = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        on_sigint = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal signals the command itself too
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGTERM, on_sigterm)
            signal.signal(signal.SIGINT, on_sigint)


def adopt(releases: Path) -> None:
    """Turn what an earlier version published into a release, so that the API serves it during the training."""
    if (releases / "current" / "dvc.lock").exists():
        run(["python", "-m", "stages.commands.history"], WORKSPACE)


def promote(releases: Path) -> int:
    """Release the model; return 0 also if a check refused it while another one is in service."""
    status = run([*PROMOTE], WORKSPACE)
    return 0 if status == REFUSED and (releases / "current").exists() else status


def in_service(releases: Path) -> str:
    """Name the release in service."""
    current = releases / "current"
    return f"release {current.readlink()} is in service" if current.is_symlink() else "nothing is in service yet"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
