"""Put an earlier release back into service: the previous one, or the one that --to names.

A rollback is a release too, so the history keeps who went back, when and why.

Example: make rollback REASON='callers complain'
"""

import argparse
from pathlib import Path

from service.release import MODEL_FILE, SLICES_FILE, Release, read_history, sequence_of
from stages.entry import log, run
from stages.errors import UserError
from stages.releases import aliases, folder
from stages.releases.session import open_releases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--to", metavar="N", help="the release to go back to, by its number or its folder's name")
    parser.add_argument("--reason", default="", metavar="TEXT", help="the reason, kept in the history")


def main(to: str | None, reason: str) -> None:
    """Find the release, check its model, and release it again."""
    releases = folder.folder()
    with open_releases(releases):
        history = read_history(releases)
        if not history:
            raise UserError(f"{releases}: nothing has been released yet; `make promote` releases the workspace's model")
        target = _find(history, to) if to else _before(history)
        earlier = history[target]
        if to and earlier.onnx_md5 == list(history.values())[-1].onnx_md5:
            log(f"release {target} is already in service")
            return
        why = f"back to release {target}" + (f": {reason.strip()}" if reason.strip() else "")
        release = folder.make_release(
            earlier, verdict="rollback", reason=why, best=earlier.best or target, registry=earlier.registry
        )
        name = folder.write(releases, release, _content(releases, history, target))
        log(f"release {name} of {release.name} is in service: {why}")
        aliases.align(releases)


def _find(history: dict[str, Release], to: str) -> str:
    for name in history:
        if to in (name, str(sequence_of(name))):
            return name
    raise UserError(f"there is no release {to}; there are {', '.join(history)}")


def _before(history: dict[str, Release]) -> str:
    """Return the release before the one in service; if a rollback put that back, the one before its original."""
    names, releases = list(history), list(history.values())
    served, place = releases[-1], len(releases) - 1
    while releases[place].verdict == "rollback":
        place = max(earlier for earlier in range(place) if releases[earlier].onnx_md5 == served.onnx_md5)
    before = [name for name in names[:place] if history[name].onnx_md5 != served.onnx_md5]
    if not before:
        raise UserError(f"{names[place]} is the first release; choose another with --to N (or TO=N)")
    return before[-1]


def _content(releases: Path, history: dict[str, Release], name: str) -> dict[str, Path]:
    model = folder.find_model(releases, history, history[name].onnx_md5)
    if model is None:
        raise UserError(
            f"{name}: its model was deleted; release.json names its commit and version: "
            "release that with `make promote REV=…` or VERSION=…"
        )
    others = (releases / name / file for file in (folder.SCHEMA_FILE, SLICES_FILE))
    return {MODEL_FILE: model} | {path.name: path for path in others if path.exists()}


if __name__ == "__main__":
    run(main, add_arguments)
