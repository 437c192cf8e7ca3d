"""Compare the models of two commits or experiments on the same rows.

Writes build/compare.html and prints the metrics. B is the workspace unless you name a commit or an experiment.

Example: make compare A=HEAD~1 B=HEAD
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stages import files
from stages.compare.comparison import Compared, compare
from stages.compare.page import html
from stages.entry import log, run
from stages.errors import NotComparableError, UserError
from stages.params.loading import load_params
from stages.releases.candidates import Candidate, from_commit, from_workspace

_SHOWN = 8


def summary(first: Candidate, second: Candidate, compared: Compared) -> Iterator[str]:
    """Yield the lines of the summary."""
    yield f"A: {first.source}"
    yield f"B: {second.source}"
    yield f"on the same {compared.rows:,} test rows of B; A, B, and the difference with its 95 % interval:"
    width = max(len(each.name) for each in compared.metrics)
    for each in compared.metrics:
        interval = "" if each.low is None else f"  ({each.low:+.4g} to {each.high:+.4g})"
        better = f"  {each.verdict} is better" if each.verdict else ""
        yield f"  {each.name:<{width}}  {each.first:>9.4g}  {each.second:>9.4g}  {each.value:>+10.4g}{interval}{better}"
    for name, before, after in compared.params[:_SHOWN]:
        yield f"  {name}: {before} -> {after}"
    if len(compared.params) > _SHOWN:
        yield f"  {len(compared.params) - _SHOWN} more parameters differ"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("first", metavar="A", help="a commit, branch, tag or experiment")
    parser.add_argument("second", metavar="B", nargs="?", help="another one; the workspace if you leave it out")


def main(first: str, second: str | None = None) -> None:
    """Find both models, compare them, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in "AB"]
        for each in places:
            each.mkdir()
        a = from_commit(first, places[0])
        b = from_commit(second, places[1]) if second else from_workspace(places[1])
        try:
            compared = compare(a, b, load_params().random_state)
        except NotComparableError as error:
            raise UserError(f"{first} cannot be compared with {second or 'the workspace'}: {error}") from None
        files.write_text(files.COMPARISON, html(a, b, compared))
    print(*summary(a, b, compared), sep="\n")
    log(f"{files.COMPARISON} shows it in a browser")


if __name__ == "__main__":
    run(main, add_arguments)
