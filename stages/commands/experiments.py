"""List the experiments in few columns, the best by cross-validation first.

The columns are the metrics to choose by, the test metric with its interval, and the parameters that differ.
Test metrics don't count for the order: if you choose by the test rows, none are left to test on.

Example: make experiments
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.params.dotted import dotted
from stages.scores.gate import main_metric

MOST_COLUMNS = 12
_WITHOUT_TERMINAL = "200"
"""Characters of a line in a file or pipe."""


def show(columns: Iterable[str], *options: str) -> None:
    """Print these columns of `dvc exp show`, the best experiment by cross-validation first."""
    crossed = [name for name in metric_names() if name.startswith("cv_")]
    best_first = ["--sort-by", crossed[0], "--sort-order", "desc"] if crossed else []
    kept = ["--drop", ".*", "--keep", f"^({'|'.join(map(re.escape, columns))})$"]
    command = ["dvc", "exp", "show", "--no-pager", *kept, *best_first, *options]
    wide = {} if sys.stdout.isatty() else {"COLUMNS": _WITHOUT_TERMINAL}
    subprocess.run(command, check=False, env=os.environ | wide)


def metric_names() -> list[str]:
    """Return the names of the main metric: by cross-validation, then of the test rows with its interval."""
    metrics = json.loads(files.METRICS.read_text(encoding="utf-8")) if files.METRICS.exists() else {}
    main = next((main_metric(task) for task in ("binary", "regression") if main_metric(task) in metrics), "")
    names = (f"cv_{main}", f"cv_{main}_std", main, f"{main}_low", f"{main}_high")
    return [name for name in names if name in metrics]


def changed(shown: list[dict[str, Any]]) -> list[str]:
    """Return the parameters that differ among the experiments of `dvc exp show --json`, in the order of params.yaml."""
    found: dict[str, set[str]] = {}
    for state in _states(shown):
        params = ((state.get("data") or {}).get("params") or {}).get(str(files.PARAMS)) or {}
        for name, value in dotted(params.get("data") or {}):
            found.setdefault(name, set()).add(json.dumps(value, sort_keys=True))
    return [name for name, values in found.items() if len(values) > 1]


def _states(shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in shown:
        yield each
        for experiment in each.get("experiments") or []:
            yield from experiment["revs"]


def _are_waiting(shown: list[dict[str, Any]]) -> bool:
    """Return whether an experiment is queued, runs or failed."""
    return any(experiment.get("executor") for each in shown for experiment in each.get("experiments") or [])


def main() -> None:
    """Ask DVC which parameters differ, and list the experiments."""
    done = subprocess.run(["dvc", "exp", "show", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"dvc exp show: {done.stderr.strip().rpartition('ERROR: ')[2]}")
    experiments = json.loads(done.stdout)
    differ = changed(experiments)
    columns = ["Experiment", "Created", *(["State"] if _are_waiting(experiments) else []), *metric_names()]
    shown = differ[: MOST_COLUMNS - len(columns)]
    show([*columns, *shown])
    if len(differ) > len(shown):
        log(f"more parameters differ: {', '.join(differ[len(shown) :])}; `dvc exp show --only-changed` has all columns")


if __name__ == "__main__":
    run(main)
