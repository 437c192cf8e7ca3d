"""Run experiments one after another: ``make sweep SET='n_estimators=50,100 max_depth=8,12'``.

Unlike `dvc exp run --queue` and `dvc queue start` this uses no background workers, so it cannot
stop half way unnoticed. Each experiment runs in a temporary copy; params.yaml stays as it is.
"""

import argparse
import csv
import itertools
import signal
import subprocess
from collections.abc import Iterable, Iterator

from stages.entry import log, run, timed
from stages.errors import UserError
from stages.scores.gate import main_metric

_SCORES = [f"cv_{main_metric(task)}" for task in ("binary", "regression")]
_MOST_LINES = 20
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


def _experiment(combination: list[str]) -> int:
    """Run one experiment and return DVC's exit status; Ctrl-C takes effect once DVC has tidied up."""
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    options = [part for setting in combination for part in ("--set-param", setting)]
    status = subprocess.run(["dvc", "exp", "run", "--temp", *options], check=False).returncode
    signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt
    return status


def rank(table: Iterable[str], keys: list[str]) -> list[str]:
    """Return a line for each experiment, the best by cross-validation first.

    `table` is what `dvc exp show --csv` prints, `keys` are the parameters to show. Test metrics
    don't count: if you choose by the test rows, none are left to test on.
    """
    rows = [row for row in csv.DictReader(table) if row["typ"] != "baseline"]
    scored = [(name, row) for row in rows for name in _SCORES if row.get(name)]
    return [
        f"{row['Experiment']}: {name} {float(row[name]):.4f} ± {float(row[f'{name}_std']):.4f}, "
        + " ".join(f"{key}={row.get(key)}" for key in keys)
        for name, row in sorted(scored, key=lambda item: -float(item[1][item[0]]))
    ]


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
                if _experiment(combination):
                    failed.append(" ".join(combination))
    except KeyboardInterrupt:
        log("stopped; `dvc exp show` lists what is done")
        raise SystemExit(130) from None
    shown = subprocess.run(["dvc", "exp", "show", "--csv"], check=False, capture_output=True, text=True)
    lines = rank(shown.stdout.splitlines(), [setting.partition("=")[0] for setting in settings])
    if lines:
        log("all experiments of this commit, the best by cross-validation on the training rows first:")
    for line in lines[:_MOST_LINES]:
        log(line)
    if failed:
        raise UserError(f"{len(failed)} of {len(wanted)} failed: {'; '.join(failed)}; see above")
    log("all done; `dvc exp show` compares them")


if __name__ == "__main__":
    run(main, add_arguments)
