"""Run experiments one after another: ``make sweep SET='n_estimators=50,100 max_depth=8,12'``.

Unlike `dvc exp run --queue` and `dvc queue start` this uses no background workers, so it cannot
stop half way unnoticed. Each experiment runs in a temporary copy; params.yaml stays as it is.

Example: make sweep SET='n_estimators=50,100 max_depth=8,12'
"""

import argparse
import itertools
from collections.abc import Iterator

from stages.commands.experiments import metric_names, show
from stages.entry import log, run, timed
from stages.errors import UserError
from stages.search.experiments import run_experiment

_USAGE = "write make sweep SET='n_estimators=50,100 max_depth=8,12'"


def combinations(settings: list[str]) -> Iterator[list[str]]:
    """Return every combination of values; ``a=1,2`` and ``b=3`` give ``[a=1, b=3]`` and ``[a=2, b=3]``.

    Raises UserError for a setting without a key or a value.
    """
    choices = []
    for setting in settings:
        key, _, values = setting.partition("=")
        if not (key and all(values.split(","))):
            raise UserError(f"{setting!r} is not key=value,value; {_USAGE}")
        choices.append([f"{key}={value}" for value in values.split(",")])
    return map(list, itertools.product(*choices))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE,VALUE", help="a parameter and the values to try")


def main(settings: list[str]) -> None:
    """Run every combination of `settings`; Ctrl-C ends the sweep, and finished experiments stay."""
    wanted = list(combinations(settings))
    failed = []
    try:
        for number, combination in enumerate(wanted, 1):
            with timed(f"{number} of {len(wanted)}: {' '.join(combination)}"):
                if run_experiment(combination):
                    failed.append(" ".join(combination))
    except KeyboardInterrupt:
        log("stopped; `dvc exp show` lists what is done")
        raise SystemExit(130) from None
    crossed = [name for name in metric_names() if name.startswith("cv_")]
    show(["Experiment", *crossed, *(setting.partition("=")[0] for setting in settings)], "--hide-workspace")
    if failed:
        raise UserError(f"{len(failed)} of {len(wanted)} failed: {'; '.join(failed)}; see above")
    log("all done; compare them by cv_…, which uses only training rows; `make experiments` lists all")


if __name__ == "__main__":
    run(main, add_arguments)
