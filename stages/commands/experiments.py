"""List the experiments of `dvc exp show` in few columns, the best by cross-validation first.

The columns are the metric to choose by, the test metric with its interval, and the parameters that differ.
Test metrics don't count for the order: if you choose by the test rows, none are left to test on.

Example: make experiments
"""

import json
import math
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.params.dotted import dotted
from stages.scores.gate import main_metric

_MOST_COLUMNS = 12
_LONGEST = 30
"""Characters of a value in the table."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The workspace, a commit, or an experiment below it."""

    name: str
    created: str
    state: str
    """Of an experiment that is queued, runs or failed."""
    metrics: Mapping[str, Any]
    params: Mapping[str, Any]
    """With dotted names."""

    def metric(self, name: str) -> str:
        """Return a metric with its deviation or interval."""
        value, low, high, deviation = (self.metrics.get(f"{name}{end}") for end in ("", "_low", "_high", "_std"))
        if value is None:
            return "-"
        interval = f" ({low:.4f} to {high:.4f})" if low is not None and high is not None else ""
        return f"{value:.4f}{interval}" + (f" ± {deviation:.2g}" if deviation is not None else "")


def read() -> list[Listed]:
    """Ask DVC for the workspace, the commit and its experiments, the best of them first.

    Raises UserError if DVC fails.
    """
    done = subprocess.run(["dvc", "exp", "show", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"dvc exp show: {done.stderr.strip().rpartition('ERROR: ')[2]}")
    found = []
    for each in json.loads(done.stdout or "[]"):
        found.append(_listed(each["name"] or each["rev"][:9], each))
        below = [_experiment(experiment) for experiment in each.get("experiments") or []]
        found += sorted(below, key=partial(_score, name=f"cv_{_main(found + below)}"), reverse=True)
    return found


def _score(listed: Listed, name: str) -> float:
    value = listed.metrics.get(name)
    return -math.inf if value is None else float(value)


def _experiment(experiment: Mapping[str, Any]) -> Listed:
    first = experiment["revs"][0]
    name = f"  {first['name'] or ''} [{first['rev'][:7]}]"
    state = (experiment.get("executor") or {}).get("state") or ""
    return _listed(name, first, "" if state == "success" else state)


def _listed(name: str, entry: Mapping[str, Any], state: str = "") -> Listed:
    data = entry.get("data") or {}
    params, metrics = (
        ((data.get(kind) or {}).get(str(path)) or {}).get("data") or {}
        for kind, path in (("params", files.PARAMS), ("metrics", files.METRICS))
    )
    created = (data.get("timestamp") or "-").replace("T", " ")[:16]
    flat = {each: value for each, value in dotted(params) if value != {}}
    return Listed(name, created, "failed" if entry.get("error") else state, metrics, flat)


def _main(listed: Iterable[Listed]) -> str:
    """Return the name of the main metric."""
    known = {name for each in listed for name in each.metrics}
    names = (main_metric(task) for task in ("binary", "regression"))
    return next((name for name in names if {name, f"cv_{name}"} & known), "")


def changed(listed: Iterable[Listed]) -> list[str]:
    """Return the parameters that differ, in the order of params.yaml; one that is missing differs from any value."""
    known = [each.params for each in listed if each.params]
    names = dict.fromkeys(name for params in known for name in params)
    return [name for name in names if len({_text(params, name) for params in known}) > 1]


def _text(params: Mapping[str, Any], name: str) -> str:
    return json.dumps(params[name], sort_keys=True) if name in params else ""


def table(listed: list[Listed], params: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a table: the header, and a line for each."""
    metrics, states, params = _metrics(listed), _states(listed), list(params)
    rows = [["Experiment", "Created", *states, *metrics, *params]]
    for each in listed:
        values = (_shorten(each.params[name]) if name in each.params else "-" for name in params)
        rows.append([each.name, each.created, *([each.state] if states else []), *map(each.metric, metrics), *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _metrics(listed: list[Listed]) -> list[str]:
    main = _main(listed)
    return [name for name in (f"cv_{main}", main) if any(name in each.metrics for each in listed)]


def _states(listed: Iterable[Listed]) -> list[str]:
    return ["State"] if any(each.state for each in listed) else []


def _shorten(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def main() -> None:
    """List the experiments."""
    listed = read()
    differ = changed(listed)
    shown = differ[: _MOST_COLUMNS - 2 - len(_states(listed)) - len(_metrics(listed))]
    print(*table(listed, shown), sep="\n")
    if len(differ) > len(shown):
        log(f"more parameters differ: {', '.join(differ[len(shown) :])}; `dvc exp show --only-changed` has all columns")


if __name__ == "__main__":
    run(main)
