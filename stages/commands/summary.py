"""What a person wants to know after `make repro`: ``python -m stages.commands.summary``."""

import json
from typing import Any

from stages import files
from stages.entry import run
from stages.params import Params, load_params

_DIGITS = 4


def summary(found: dict[str, Any], registration: dict[str, Any], decision: str | None, params: Params) -> list[str]:
    """The lines of the summary.

    `found` is the content of metrics.json, `registration` that of registration.json and
    `decision` what `promote` decided about the model, None if that isn't known here.
    """
    gate = registration["gate"]
    name = gate["metric"]
    passed = "passed" if gate["passed"] else "not passed"
    rows = {
        params.model: f"{name} {_figures(found, name)}, the dummy baseline {_figures(found, f'baseline_{name}')}",
        "choose by": _cross_validation(found, name),
        "gate": f"{passed}: the gain must be at least {params.registration.min_gain}",
        "release": decision or "`make promote` releases the model",
        "model": f"{files.ONNX} for production, {files.MODEL} for people",
        "reports": f"{files.CARD}, {files.VALIDATION_REPORT}, {files.METRICS}",
        "share": "`make push` does what DVC says of `dvc push`, once you have set a remote (README, Share)",
        "next": "`make serve` answers requests, `make mlflow` shows runs, `dvc exp run -S n_estimators=200` tries more",
    }
    width = max(map(len, rows))
    return [f"{label:<{width}}  {text}" for label, text in rows.items() if text]


def _cross_validation(found: dict[str, Any], name: str) -> str:
    if f"cv_{name}" not in found:
        return ""
    value, spread, folds = (found[f"cv_{key}"] for key in (name, f"{name}_std", "folds"))
    return f"cv_{name} {value:.{_DIGITS}f} ± {spread:.{_DIGITS}f}, of {folds:.0f} folds of the training rows"


def _figures(found: dict[str, Any], name: str) -> str:
    if name not in found:
        return "unknown"
    value, low, high = (found.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    interval = ""
    if low is not None and high is not None:
        over = f" over {found['interval_units']} {found['interval_unit']}s" if "interval_unit" in found else ""
        interval = f" ({low:.{_DIGITS}f} to {high:.{_DIGITS}f}{over})"
    return f"{value:.{_DIGITS}f}{interval}"


def main() -> None:
    """Print the summary."""
    params = load_params()
    found = json.loads(files.METRICS.read_text(encoding="utf-8"))
    registration = json.loads(files.REGISTRATION.read_text(encoding="utf-8"))
    decision = files.DECISION.read_text(encoding="utf-8").strip() if files.DECISION.exists() else None
    print("", *summary(found, registration, decision, params), sep="\n")


if __name__ == "__main__":
    run(main)
