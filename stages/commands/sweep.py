"""Run experiments one after another: ``make sweep SET='n_estimators=50,100 max_depth=8,12'``.

Unlike `dvc exp run --queue` and `dvc queue start` this uses no background workers, so it cannot
stop half way unnoticed. Each experiment runs in a temporary copy; params.yaml stays as it is.
"""

import argparse
import itertools
import json
import re
import subprocess
from collections.abc import Iterator

from stages import files
from stages.entry import log, run, timed
from stages.errors import UserError
from stages.scores.gate import main_metric
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


def _show(keys: list[str]) -> None:
    """List the experiments with the parameters `keys`, the best by cross-validation first.

    Test metrics don't count: if you choose by the test rows, none are left to test on.
    """
    metrics = json.loads(files.METRICS.read_text(encoding="utf-8")) if files.METRICS.exists() else {}
    names = [name for task in ("binary", "regression") if (name := f"cv_{main_metric(task)}") in metrics]
    kept = "|".join(map(re.escape, ["Experiment", *names, *(f"{name}_std" for name in names), *keys]))
    columns = ["--drop", ".*", "--keep", f"^({kept})$"]
    best_first = ["--sort-by", names[0], "--sort-order", "desc"] if names else []
    subprocess.run(["dvc", "exp", "show", "--no-pager", "--hide-workspace", *columns, *best_first], check=False)


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
    _show([setting.partition("=")[0] for setting in settings])
    if failed:
        raise UserError(f"{len(failed)} of {len(wanted)} failed: {'; '.join(failed)}; see above")
    log("all done; compare them by cv_…, which uses only training rows; `dvc exp show` lists all metrics")


if __name__ == "__main__":
    run(main, add_arguments)
