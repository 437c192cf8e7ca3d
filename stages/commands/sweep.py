"""Run experiments one after another: ``make sweep SET='n_estimators=50,100 max_depth=8,12'``.

Beside `dvc exp run --queue` and `dvc queue start`: no background worker, so nothing stops
half way unseen. Each runs in a temporary copy; params.yaml stays as it is.
"""

import argparse
import csv
import io
import itertools
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator

from stages.entry import log, run
from stages.errors import UserError
from stages.scores.main_metric import main_metric

_SCORES = tuple(f"cv_{main_metric(task)}" for task in ("binary", "regression"))
_MOST_LINES = 20
_USAGE = "write make sweep SET='n_estimators=50,100 max_depth=8,12'"


def combinations(settings: list[str]) -> Iterator[list[str]]:
    """Every combination of values; ``a=1,2`` and ``b=3`` give ``[a=1, b=3]`` and ``[a=2, b=3]``.

    Raises UserError for a setting without a key or a value.
    """
    choices = []
    for setting in settings:
        key, equals, values = setting.partition("=")
        if not (key and equals and all(values.split(","))):
            raise UserError(f"{setting!r} is no key=value,value; {_USAGE}")
        choices.append([f"{key}={value}" for value in values.split(",")])
    return map(list, itertools.product(*choices))


def sweep(wanted: list[list[str]]) -> list[str]:
    """Run each combination as an experiment; give those that failed."""
    failed = []
    for number, combination in enumerate(wanted, 1):
        name = " ".join(combination)
        log(f"{number} of {len(wanted)}: {name}")
        start = time.monotonic()
        arguments = [part for setting in combination for part in ("--set-param", setting)]
        if _experiment(arguments):
            failed.append(name)
        log(f"{name}: {'failed' if name in failed else 'done'} in {time.monotonic() - start:.0f} s")
    return failed


def _experiment(arguments: list[str]) -> int:
    """Give DVC's exit status; on Ctrl-C wait until DVC, which is told as well, has tidied up.

    An exception could come before there is a process to wait for, so the signal is only noted.
    """
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        status = subprocess.run(["dvc", "exp", "run", "--temp", *arguments], check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt
    return status


def rank(table: str, keys: Iterable[str]) -> list[str]:
    """Return a line for each experiment, the best by cross-validation first.

    `table` is what `dvc exp show --csv` prints, `keys` are the parameters to show. Test metrics
    don't count: who chooses by the test rows has none left to test on.
    """
    rows = [row for row in csv.DictReader(io.StringIO(table)) if row["typ"] != "baseline"]
    name = next((name for name in _SCORES if any(row.get(name) for row in rows)), None)
    if name is None:
        return []
    ranked = sorted((row for row in rows if row.get(name)), key=lambda row: -float(row[name]))
    return [
        f"{row['Experiment']}: {name} {float(row[name]):.4f} ± {float(row[f'{name}_std']):.4f}, "
        + " ".join(f"{key}={row.get(key)}" for key in keys)
        for row in ranked
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE,VALUE", help="a parameter and the values to try")


def _show_ranking(settings: list[str]) -> None:
    shown = subprocess.run(["dvc", "exp", "show", "--csv"], check=False, capture_output=True, text=True)
    lines = rank(shown.stdout, [setting.partition("=")[0] for setting in settings])
    if lines:
        log("the best by cross-validation on the training rows first, of all experiments of this commit:")
    for line in lines[:_MOST_LINES]:
        log(line)


def main(settings: list[str]) -> None:
    """Run every combination of `settings`; Ctrl-C ends the sweep, what is done stays."""
    wanted = list(combinations(settings))
    try:
        failed = sweep(wanted)
    except KeyboardInterrupt:
        log("stopped; what is done stands in `dvc exp show`")
        raise SystemExit(130) from None
    _show_ranking(settings)
    if failed:
        raise UserError(f"{len(failed)} of {len(wanted)} failed: {'; '.join(failed)}; see above")
    log("all done; `dvc exp show` compares them")


if __name__ == "__main__":
    run(main, add_arguments)
