"""Show what was released when, by whom and why, and every move of the registry's aliases.

With a day or a moment (ISO 8601, UTC unless it says otherwise), show as JSON what was in service then.
"""

import argparse
import json
from datetime import UTC, datetime

from service.release import Release
from stages.entry import log, run
from stages.errors import UserError
from stages.params import load_params
from stages.releases import aliases
from stages.releases import folder as _releases
from stages.releases.changing import changing
from stages.runs import history as _history
from stages.runs import tracking
from stages.runs.history import Move


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "on", nargs="?", metavar="DATE", help="a day or a moment, such as 2026-03-01 or 2026-03-01T12:00"
    )


def main(on: str | None) -> None:
    """Print the history, or what was in service on the day named."""
    during = _history.period(on) if on else None
    name = load_params().registered_name
    releases = _releases.folder()
    with changing(releases):
        history = _releases.history(releases)
    moves = _moves(name)
    if not history and not moves:
        raise UserError(f"{releases}: nothing has been released yet; `make promote` releases the workspace's model")
    if during is None:
        lines = [*(_release_line(folder, each) for folder, each in history.items()), *map(_move_line, moves)]
        print("\n".join(sorted(lines)))
        return
    print(
        json.dumps(
            {
                "name": name,
                "on": on,
                "releases": in_service(history, *during),
                "champion": _history.champions(moves, *during),
            }
        )
    )


def _moves(name: str) -> list[Move]:
    try:
        registry = aliases.open_registry(name)
        with tracking.told():
            return registry.moves() if registry else []
    except UserError as error:
        log(f"without the moves of aliases: {error}")
        return []


def in_service(history: dict[str, Release], begin: datetime, end: datetime) -> list[str]:
    """Return every release that was in service at some moment from `begin` on and before `end`, in their order."""
    before = [folder for folder, release in history.items() if release.at <= begin]
    return before[-1:] + [folder for folder, release in history.items() if begin < release.at < end]


def _release_line(folder: str, release: Release) -> str:
    origin = [f"commit {release.revision[:7]}{' and changes' if release.dirty else ''}"] if release.revision else []
    origin += [f"version {release.registry.version}"] if release.registry else []
    told = f"release {folder} of {release.name}, {release.verdict}, by {release.by}: {release.reason}"
    return f"{_moment(release.at)}  {told}" + (f" ({', '.join(origin)})" if origin else "")


def _move_line(move: Move) -> str:
    return f"{_moment(move.when)}  alias {move.alias} {move.before or 'none'} -> {move.after or 'none'}: {move.why}"


def _moment(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


if __name__ == "__main__":
    run(main, add_arguments)
