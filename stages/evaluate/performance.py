"""Say in plain words what intervals count and what a threshold means, for the model card."""

from collections.abc import Iterator, Mapping

import numpy as np

from stages.params import EvaluateParams
from stages.scores.units import Units

_ALIKE = 0.1
"""Correlation of neighbouring units from which on the card says how much wider the intervals should be."""


def describe_intervals(units: Units, likeness: float | None) -> str:
    """Return what the intervals are computed over, and the dependence that they don't count.

    `likeness` is the correlation of neighbouring units. The factor is that of a first-order
    autoregression: the variance of a mean grows by (1 + r) / (1 - r).
    """
    if units.too_few:
        return f"There are no intervals: {units.too_few}."
    counted = f"In brackets: 95 % intervals (jackknife) over {units.count:,} independent {units.plural}."
    if not units.is_time:
        return counted
    if likeness is None or likeness < _ALIKE:
        return f"{counted} They don't count likeness between {units.plural}; neighbouring ones show little."
    wider = np.sqrt((1 + likeness) / (1 - likeness))
    return (
        f"{counted} Neighbouring {units.plural} are alike too (correlation {likeness:.2f}), which the intervals don't "
        f"count: they should be about {wider:.1f} times as wide."
    )


def describe_decisions(
    found: Mapping[str, float], evaluation: EvaluateParams, target: str, positive: str
) -> Iterator[str]:
    """Yield how many rows of the positive class are found, and at what price; names come escaped."""
    why = f"`evaluate.threshold: {evaluation.threshold}`{_goal(evaluation)}"
    yield f"{target} {positive} is predicted above a probability of {found['threshold']:.4g} ({why})."
    yield ""
    if "recall" in found:
        yield f"- Of 100 test rows that are {positive} the model finds {_of_hundred(found, 'recall')}."
    if not found.get("precision"):
        yield f"- It calls {'only wrong rows' if 'precision' in found else 'no test row'} {positive}."
        return
    alarms = f"{1 / found['precision'] - 1:.1f} false alarms for each one found"
    yield f"- Of 100 test rows that it calls {positive}, {_of_hundred(found, 'precision')} are {positive}: {alarms}."


def _goal(evaluation: EvaluateParams) -> str:
    if evaluation.threshold != "auto":
        return ""
    goal = "has the best balanced accuracy"
    if evaluation.costs:
        wrong, missed = evaluation.costs.false_positive, evaluation.costs.false_negative
        goal = f"costs least, at {wrong:g} for a false alarm and {missed:g} for a miss,"
    return f", which {goal} on out-of-fold predictions of training rows"


def _of_hundred(found: Mapping[str, float], name: str) -> str:
    bounds = [100 * found[key] for key in (f"{name}_low", f"{name}_high") if key in found]
    interval = f" [{bounds[0]:.0f}, {bounds[1]:.0f}]" if bounds else ""
    return f"{100 * found[name]:.0f}{interval}"
