"""Print the result of `make repro`: the metrics, what `promote` decided, and what to type next.

Example: python -m stages.commands.summary
"""

import json
from typing import Any

from stages import files
from stages.entry import run
from stages.params.choice import describe_choice, read_candidates
from stages.params.loading import load_params
from stages.params.params import Params
from stages.params.sample_use import read_sample_use
from stages.scores.wording import with_interval


def summary(  # noqa: PLR0913, PLR0917  # each is a line of the summary
    metrics: dict[str, Any],
    gate: dict[str, Any],
    decision: str | None,
    params: Params,
    chosen: str = "",
    sample: str = "",
) -> list[str]:
    """Return the lines of the summary.

    `metrics` is the content of metrics.json, `gate` the value of `gate` in registration.json, `decision` the last
    line of `promote`, or None if it has not run here, `chosen` what `model: auto` chose, and `sample` what a sample
    of the training rows costs.
    """
    name = gate["metric"]
    passed = "passed" if gate["passed"] else "not passed"
    baseline = with_interval(metrics, f"baseline_{name}")
    rows = {
        params.model: f"{name} {with_interval(metrics, name)}, the dummy baseline {baseline}",
        "chosen": chosen and f"{chosen} ({files.CANDIDATES})",
        "sample": sample,
        "choose by": _cross_validation(metrics, name),
        "gate": f"{passed}: the gain must be at least {params.registration.min_gain}",
        "release": decision or "`make promote` releases the model",
        "model": f"{files.ONNX} for production, {files.MODEL} for Python",
        "reports": f"{files.REPORT} (open it in a browser), {files.CARD}, {files.VALIDATION_REPORT}",
        "share": "`make push` replaces `dvc push`; set a remote first (docs/how-to/storage.md)",
        "next": "`make serve` answers requests, `make mlflow` shows runs, `dvc exp run -S n_estimators=200` tries more",
    }
    width = max(map(len, rows))
    return [f"{label:<{width}}  {text}" for label, text in rows.items() if text]


def _cross_validation(metrics: dict[str, Any], name: str) -> str:
    if f"cv_{name}" not in metrics:
        return ""
    value, spread, folds = (metrics[f"cv_{key}"] for key in (name, f"{name}_std", "folds"))
    return f"cv_{name} {value:.4f} ± {spread:.4f}, of {folds:.0f} folds of the training rows"


def main() -> None:
    """Print the summary."""
    metrics, registration = (json.loads(path.read_text("utf-8")) for path in (files.METRICS, files.REGISTRATION))
    decision = files.DECISION.read_text("utf-8").strip() if files.DECISION.exists() else None
    about = describe_choice(read_candidates()), read_sample_use().describe()
    print("", *summary(metrics, registration["gate"], decision, load_params(), *about), sep="\n")


if __name__ == "__main__":
    run(main)
