"""List the releases (when, by whom, why) and the moves of the registry's aliases.

With a date or a time (ISO 8601, UTC unless it has an offset), print as JSON what was in service then.

Example: python -m stages.commands.history 2026-03-01
"""

import argparse
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from service.release import Release, read_history
from stages.entry import run
from stages.errors import UserError
from stages.params.loading import load_params
from stages.releases import aliases, folder
from stages.releases.session import open_releases
from stages.runs.registry import Move


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "on", nargs="?", metavar="DATE", help="a date or a time, such as 2026-03-01 or 2026-03-01T12:00"
    )


def main(on: str | None) -> None:
    """Print the history, or what was in service at the date or time `on`."""
    begin, end = period(on) if on else (None, None)
    name = load_params().registered_name
    releases = folder.folder()
    with open_releases(releases):
        history = read_history(releases)
    moves = _moves(name)
    if not history and not moves:
        raise UserError(f"{releases}: nothing has been released yet; `make promote` releases the workspace's model")
    if begin and end:
        released = find_current([(release.at, number) for number, release in history.items()], begin, end)
        champions = find_current([(move.when, move.after) for move in moves if move.alias == "champion"], begin, end)
        print(json.dumps({"name": name, "on": on, "releases": released, "champion": champions}))
    else:
        print("\n".join(sorted([*(_release_line(*item) for item in history.items()), *map(_move_line, moves)])))


def period(text: str) -> tuple[datetime, datetime]:
    """Parse a date or a time, and return its start and end. Raises UserError for other text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{text!r} is not a date; write it like 2026-03-01 or 2026-03-01T12:00") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    day = len(text) == len("2026-03-01")
    return moment, moment + (timedelta(days=1) if day else timedelta(microseconds=1))


def find_current(changes: Iterable[tuple[datetime, str | None]], begin: datetime, end: datetime) -> list[str]:
    """Return the values that were current at some time from `begin` until before `end`, in order.

    `changes` are the times at which each value became current, the oldest first; None means no value.
    """
    first: str | None = None
    later = []
    for moment, value in changes:
        if moment <= begin:
            first = value
        elif moment < end:
            later.append(value)
    return list(dict.fromkeys(value for value in [first, *later] if value))


def _moves(name: str) -> list[Move]:
    with aliases.log_errors("the moves of aliases are not shown"):
        registry = aliases.open_registry(name)
        return registry.moves() if registry else []
    return []


def _release_line(name: str, release: Release) -> str:
    origin = [f"commit {release.revision[:7]}{' and changes' if release.dirty else ''}"] if release.revision else []
    origin += [f"version {release.registry.version}"] if release.registry else []
    line = f"release {name} of {release.name}, {release.verdict}, by {release.by}: {release.reason}"
    return f"{_moment(release.at)}  {line}" + (f" ({', '.join(origin)})" if origin else "")


def _move_line(move: Move) -> str:
    return f"{_moment(move.when)}  alias {move.alias} {move.before or 'none'} -> {move.after or 'none'}: {move.why}"


def _moment(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


if __name__ == "__main__":
    run(main, add_arguments)
