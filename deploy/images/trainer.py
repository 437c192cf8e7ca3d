"""The trainer's entry point: a checkout that lives in a volume, one command in it, and a release after `dvc repro`.

The image holds the repository in `SOURCE`. The volume `WORKSPACE` follows it whenever the
image is another one; models, cache and experiments stay. After a `dvc repro` that succeeds,
`stages.commands.promote` releases its model into the folder that the variable RELEASES names,
the volume that the service reads. Any other command changes nothing that is served.
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
"""Its status if a check refuses the model."""
FAILED: Final = "failed"
"""In the folder of releases while the last command failed, for an API that waits for a first model."""


def main(command: list[str]) -> int:
    """Run `command` in the workspace; give its exit status."""
    with alone(WORKSPACE):
        follow(SOURCE, WORKSPACE)
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
            say(f"{' '.join(command)!r} failed with status {status}, see above; {in_service(releases)}")
        return status


def say(text: str) -> None:
    """Tell people, in their order with what the command says."""
    print(f"trainer: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def alone(workspace: Path) -> Iterator[None]:
    """Hold the workspace; a second trainer waits. What one that was killed left locked is free again."""
    git = workspace / ".git"
    git.mkdir(exist_ok=True)
    with (git / "trainer.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another trainer is at work; waiting until it is done")
            fcntl.flock(file, fcntl.LOCK_EX)
        # DVC asks whether the process with that number lives, but in a new container others have the same numbers.
        for left in (git / "index.lock", workspace / ".dvc/tmp/rwlock"):
            left.unlink(missing_ok=True)
        yield


def follow(source: Path, workspace: Path) -> None:
    """Bring the workspace to the state of the image, if that is another one than before.

    What was changed in the workspace is kept: commits in a branch ``kept-…``, changes in a stash.
    Ended half way, it does all of it again.
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
    say(f"the workspace is now at {_git(workspace, 'log', '-1', '--format=%h %s').strip()!r}")


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
    # Without a branch of its own, a commit that the image doesn't know would be out of reach.
    _git(workspace, "branch", "--force", f"kept-{head}", "HEAD")
    changes = _git(workspace, "stash", "create").strip()
    if changes:
        message = f"changes before the image moved on from {head}"
        _git(workspace, "stash", "store", "--message", message, changes)
        say(f"changes in the workspace are kept: `git stash list` shows {message!r}")


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


def store(path: Path) -> dict[str, str]:
    """Give the way to the S3 store of this Compose project, where it runs and the environment names no other."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or not path.exists():
        return {}
    try:
        socket.getaddrinfo("s3", 8333)
    except socket.gaierror:
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


def make_buckets(config: Path) -> None:
    """Make the buckets that DVC's remotes name, where they are not there: in a store of our own nobody else does."""
    from botocore.exceptions import ClientError  # noqa: PLC0415  # only where the store runs
    from botocore.session import get_session  # noqa: PLC0415

    client = get_session().create_client("s3")
    for bucket in re.findall(r"^\s*url\s*=\s*s3://([^/\s]+)", config.read_text(encoding="utf-8"), re.MULTILINE):
        with contextlib.suppress(ClientError):  # is there already; anything else DVC meets as well, and tells
            client.create_bucket(Bucket=bucket)


def attempt(command: list[str], workspace: Path) -> int:
    """Run `command`; an experiment that fails takes its parameters along, which DVC would leave for the next one."""
    params = workspace / "params.yaml"
    before = params.read_bytes()
    status = run(command, workspace)
    if status and command[0] == "dvc" and params.read_bytes() != before:
        params.write_bytes(before)
        say("params.yaml is again as it was before")
    return status


def run(command: list[str], folder: Path) -> int:
    """Run `command` until it ends; being asked to stop is handed on to it."""
    with subprocess.Popen(command, cwd=folder) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells the command as well
        return process.wait()


def adopt(releases: Path) -> None:
    """Make a release of what a trainer of the version before published, so that the API has it while this one works."""
    if (releases / "current" / "dvc.lock").exists():
        run(["python", "-m", "stages.commands.history"], WORKSPACE)


def promote(releases: Path) -> int:
    """Release the model; give 0 although a check refused it if another one is in service."""
    status = run([*PROMOTE], WORKSPACE)
    return 0 if status == REFUSED and (releases / "current").exists() else status


def in_service(releases: Path) -> str:
    """Tell which release is in service."""
    current = releases / "current"
    return f"release {current.readlink()} is in service" if current.is_symlink() else "nothing is in service yet"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
