"""DVC experiments: run one in a temporary copy, or save settings with their cross-validated scores as one."""

import io
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from getpass import getuser
from pathlib import Path
from socket import gethostname
from typing import Any

from ruamel.yaml import YAML

from stages import files
from stages.errors import UserError
from stages.params.search import Settings
from stages.runs import git
from stages.search.interrupts import finishing

_WIDTH = 10_000
"""Lines of params.yaml are never wrapped."""


def run_experiment(settings: list[str], name: str | None = None) -> int:
    """Run one experiment with ``key=value`` settings and return DVC's exit status.

    It runs in a temporary copy, so params.yaml stays as it is. Ctrl-C takes effect once DVC has tidied up.
    """
    options = [part for setting in settings for part in ("--set-param", setting)]
    named = ["--name", name] if name else []
    with finishing():
        return subprocess.run(["dvc", "exp", "run", "--temp", *named, *options], check=False).returncode


def ref_of(name: str) -> str:
    """Return the Git reference of an experiment on the current commit. Raises UserError without a commit."""
    from dvc.repo.experiments.refs import ExpRefInfo  # noqa: PLC0415  # half a second, not needed by every command

    head = git.head()
    if head is None:
        raise UserError("there is no commit yet, so no experiments; run `git commit` first")
    return str(ExpRefInfo(head, name))


def save(name: str, settings: Settings, scores: Mapping[str, float], finished: str | None = None) -> None:
    """Save the workspace's tracked files with these settings as an experiment, without running it.

    Its metrics are only `scores`: the test rows are scored when somebody applies and reproduces it. Its dvc.lock
    is that of the experiment `finished`, else the workspace's, which may lack a stage: then `dvc exp apply`
    finds no files to check out. The workspace and Git's index stay as they are.
    """
    lock = git.read(ref_of(finished), str(files.LOCK)) if finished else None
    if lock is None and files.LOCK.exists():
        lock = files.LOCK.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        run_git("read-tree", "HEAD", **index)
        run_git("add", "--update", **index)
        changed = {files.PARAMS: with_settings(files.PARAMS.read_text(encoding="utf-8"), settings)}
        changed[files.METRICS] = json.dumps(dict(sorted(scores.items())), indent=2) + "\n"
        changed |= {files.LOCK: lock.decode()} if lock else {}
        for path, text in changed.items():
            blob = run_git("hash-object", "-w", "--stdin", content=text)
            run_git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", **index)
        tree = run_git("write-tree", **index)
    commit = run_git("commit-tree", tree, "-p", "HEAD", "-m", f"dvc: commit experiment {tree}")
    run_git("update-ref", ref_of(name), commit)


def with_settings(text: str, settings: Settings) -> str:
    """Return the text of params.yaml with these settings; everything else stays, comments too."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = _WIDTH, True
    yaml.representer.add_representer(type(None), _represent_null)
    document = yaml.load(text)
    for key, value in settings.items():
        name, _, inner = key.partition(".")
        if inner:
            document.setdefault(name, {})[inner] = value
        else:
            document[name] = value
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _represent_null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def metrics_of(name: str) -> dict[str, float] | None:
    """Return the metrics of an experiment on the current commit; None if there is no such experiment."""
    content = git.read(ref_of(name), str(files.METRICS))
    return None if content is None else dict(json.loads(content))


def remove(name: str) -> None:
    """Remove an experiment on the current commit."""
    run_git("update-ref", "-d", ref_of(name))


def run_git(*arguments: str, content: str | None = None, **environment: str) -> str:
    """Run Git and return its output. Raises UserError with Git's first line if it fails."""
    environment = {"EMAIL": f"{getuser()}@{gethostname()}"} | os.environ | environment  # as DVC, if Git knows no author
    done = subprocess.run(
        ["git", *arguments], input=content, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(
            f"git {arguments[0]}: {(done.stderr.splitlines() or ['it failed'])[0]}; the experiment is not saved"
        )
    return done.stdout.strip()
