"""The metric that models are compared by, and the gate: a model must beat the dummy baseline by a minimum gain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIGITS = 10
"""Metrics are rounded to this many significant digits and decimals, as machines differ in the last bits."""


def main_metric(task: str) -> str:
    """Return the metric that the gate compares: r2 for regression, else roc_auc."""
    return "r2" if task == "regression" else "roc_auc"


@dataclass(frozen=True, slots=True)
class Gate:
    """The comparison with the dummy baseline. It depends only on the metrics and params."""

    metric: str
    value: float | None
    baseline: float | None
    min_gain: float
    too_different: tuple[str, ...] = ()
    """Differences of groups above their bounds, as text."""

    @property
    def refusal(self) -> str:
        """Why the model does not pass; empty if it passes."""
        return "; ".join(filter(None, [self._against_baseline(), *self.too_different]))

    def _against_baseline(self) -> str:
        if self.value is None or self.baseline is None:
            return f"the test rows give no {self.metric}: there are too few, or all are of one class; change the split"
        # Both are rounded to `DIGITS`, and so is their difference.
        if round(self.value - self.baseline, DIGITS) >= self.min_gain:
            return ""
        return f"{self.metric} {self.value:.4f} does not beat the baseline {self.baseline:.4f} by {self.min_gain}"


def check(found: Mapping[str, Any], task: str, min_gain: float, max_difference: Mapping[Any, float]) -> Gate:
    """Compare the main metric of `found`, the content of metrics.json, with the baseline's, and differences of groups.

    `max_difference` are the bounds of `register.max_difference`.
    """
    metric = main_metric(task)
    too_different = (_exceeds(name, found.get(name), bound, task) for name, bound in max_difference.items())
    return Gate(
        metric, found.get(metric), found.get(f"baseline_{metric}"), min_gain, tuple(filter(None, too_different))
    )


def _exceeds(name: str, value: float | None, bound: float, task: str) -> str:
    if name.startswith("mean_") != (task == "regression"):
        return f"{name} is not for {task}; name another difference in register.max_difference"
    if value is None:
        return f"the test rows give no {name}: two groups need such rows; run `dvc repro`, or change evaluate.groups"
    return f"{name} {value:.4f} of groups is above register.max_difference {bound}" if value > bound else ""
