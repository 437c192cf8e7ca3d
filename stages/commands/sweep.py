"""Run experiments one after another: ``make sweep SET='n_estimators=50,100 max_depth=8,12'``.

Unlike `dvc exp run --queue` and `dvc queue start` this uses no background workers, so it cannot
stop half way unnoticed. Each experiment runs in a temporary copy; params.yaml stays as it is.
With a Dask scheduler, its workers run them side by side, each in a clone of the commit.

Example: make sweep SET='n_estimators=50,100 max_depth=8,12'
"""

import argparse
import itertools
import time
from collections.abc import Iterator

from stages.commands.experiments import read, table
from stages.entry import log, run
from stages.errors import UserError
from stages.partitions.arguments import add_scheduler
from stages.progress import describe_duration
from stages.search import cluster
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
    add_scheduler(parser, "run them")


def main(settings: list[str], scheduler: str | None) -> None:
    """Run every combination of `settings`; Ctrl-C ends the sweep, and finished experiments stay."""
    wanted = list(combinations(settings))
    try:
        failed = _run_there(wanted, scheduler) if scheduler else _run_here(wanted)
    except KeyboardInterrupt:
        log("stopped; `dvc exp show` lists what is done")
        raise SystemExit(130) from None
    commits = [each for each in read() if each.name != "workspace"]
    print(*table(commits, dict.fromkeys(setting.partition("=")[0] for setting in settings)), sep="\n")
    if failed:
        raise UserError(f"{len(failed)} of {len(wanted)} failed: {'; '.join(failed)}; see above")
    log("all done; compare them by cv_…, which uses only training rows; `make experiments` lists all")


def _run_here(wanted: list[list[str]]) -> list[str]:
    """Run experiments one after another; return the settings of those that failed."""
    failed, start = [], time.perf_counter()
    for number, combination in enumerate(wanted, 1):
        name = " ".join(combination)
        log(f"{number} of {len(wanted)}: {name} ...")
        status = run_experiment(combination)
        if status:
            failed.append(name)
        log(_describe_end(number, len(wanted), name, status, start))
    return failed


def _describe_end(done: int, of: int, name: str, status: int, start: float) -> str:
    took = time.perf_counter() - start
    left = f", {describe_duration(took / done * (of - done))} left" if done < of else ""
    return f"{done} of {of}: {name}: {'failed' if status else 'done'}; {describe_duration(took)} so far{left}"


def _run_there(wanted: list[list[str]], scheduler: str) -> list[str]:
    """Run experiments on a cluster; return the settings of those that failed."""
    failed = {}
    start = time.perf_counter()
    log(f"{len(wanted)} experiments run on the cluster at {scheduler}")
    for done, (place, outcome) in enumerate(cluster.run_experiments(wanted, scheduler), 1):
        name = " ".join(wanted[place])
        log(_describe_end(done, len(wanted), name, outcome.status, start))
        if outcome.status:
            print(outcome.output)
            failed[place] = name
    return [failed[place] for place in sorted(failed)]


if __name__ == "__main__":
    run(main, add_arguments)
