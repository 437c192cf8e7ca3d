"""Check that HEAD's dvc.lock is what HEAD computes: run by ``make verify``.

A second clone runs the whole pipeline with another folder name, hash seed, home, user
cache, time zone, core count and MLflow store, and no result remembered. Then its dvc.lock
is compared with the committed one, byte for byte. If it is the same, this clone's DVC cache
gets the outputs.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
_PERSONAL = ("AWS_", "DVC_", "GIT_", "MLFLOW_", "XDG_")


def main() -> None:
    """Exit with status 1 and the name of the first output that differs."""
    changed = _git(ROOT, "status", "--porcelain").splitlines()
    if changed:
        print(
            f"verify: {len(changed)} uncommitted changes, such as {changed[0][3:]!r}, are not part of what is verified"
        )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        home = Path(folder)
        clone = home / "another folder"
        _git(ROOT, "clone", "--quiet", "--no-local", str(ROOT), str(clone))
        environment = _environment(home)
        _run(clone, environment)
        difference = compare(ROOT, clone)
        if difference:
            sys.exit(f"verify: {difference}")
        subprocess.run(["dvc", "push", "--quiet", "--remote", "here"], cwd=clone, env=environment, check=True)
    print(f"verify: dvc.lock came out the same, byte for byte ({time.monotonic() - start:.0f} s)")
    print("verify: `dvc checkout` brings its outputs into the workspace")


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PERSONAL)}
    return kept | {
        "HOME": str(home),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "PYTHONHASHSEED": "20130101",
        "TZ": "Pacific/Chatham",
    }


def _run(clone: Path, environment: dict[str, str]) -> None:
    # This clone's cache, which is laid out as a remote is.
    dvc = ["dvc", "remote", "add", "--quiet", "--local", "here", _cache()]
    subprocess.run(dvc, cwd=clone, env=environment, check=True)
    tracked = _git(clone, "ls-files", "*.dvc").splitlines()
    if tracked:
        subprocess.run(["dvc", "pull", "--quiet", "--remote", "here", *tracked], cwd=clone, env=environment, check=True)
    done = subprocess.run(["dvc", "repro", "--force", "--no-run-cache"], cwd=clone, env=environment, check=False)
    if done.returncode:
        sys.exit("verify: the pipeline failed in a second clone; see above")


def compare(committed: Path, computed: Path) -> str:
    """Return the first output in the pipeline's order that differs, or nothing if dvc.lock is the same."""
    old = _git(committed, "show", "HEAD:dvc.lock")
    new = (computed / "dvc.lock").read_text(encoding="utf-8")
    if old == new:
        return ""
    before, after = (dict(_facts(text)) for text in (old, new))
    for fact in before | after:
        if before.get(fact) != after.get(fact):
            return (
                f"{fact}: dvc.lock has {before.get(fact, 'nothing')}, a second clone got {after.get(fact, 'nothing')}"
            )
    return "dvc.lock differs in its form alone; run `dvc repro` and commit it"


def _facts(lock: str) -> Iterator[tuple[str, Any]]:
    stages = YAML(typ="safe", pure=True).load(lock)["stages"]
    order = [*YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]]
    for stage in sorted(stages, key=order.index):
        for kind in ("cmd", "params", "deps", "outs"):
            found = stages[stage].get(kind, [])
            entries = {"": found} if isinstance(found, (str, dict)) else {entry["path"]: entry for entry in found}
            for path, entry in entries.items():
                fact = entry.get("md5", entry) if isinstance(entry, dict) else entry
                yield f"{stage}: {kind} {path}".rstrip(), fact


def _cache() -> str:
    found = subprocess.run(["dvc", "cache", "dir"], cwd=ROOT, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"verify: git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
