"""The alerts about predictions whose outcome is known."""

from collections.abc import Iterator
from typing import Final

from monitoring.alert import Alert
from monitoring.timing import Limits, Timing

_PERCENT: Final = "{{ $value | humanizePercentage }}"
_DIGITS: Final = '{{ $value | printf "%.4g" }}'


def feedback(timing: Timing, limits: Limits) -> Iterator[Alert]:
    """Yield the alerts about accuracy, errors and coverage."""
    enough = f"and on (job, version) version:feedback_rows:sum24h >= {limits.min_feedback}"
    yield Alert(
        "LiveAccuracyLow",
        "version:feedback_accuracy:24h < on (job, version) (max by (job, version)"
        f' (model_accepted_metric{{metric="accuracy"}}) - {limits.accuracy_margin}) {enough}',
        timing.soon, "warning",
        f"Live accuracy is down to {_PERCENT}",
        f"{_PERCENT} of the predictions with feedback in the last day were right. That is more than"
        f" {100 * limits.accuracy_margin:g} percentage points below the accuracy on the test rows. Check whether"
        " features drift and whether the feedback is a fair sample; then train on newer rows.",
        "model",
    )  # fmt: skip
    more = round(1 + 5 * limits.accuracy_margin, 6)
    yield Alert(
        "LiveErrorHigh",
        "version:feedback_absolute_error:24h > on (job, version) (max by (job, version)"
        f' (model_accepted_metric{{metric="mean_absolute_error"}}) * {more}) {enough}',
        timing.soon, "warning",
        f"The live mean absolute error is up to {_DIGITS}",
        f"The predictions with feedback in the last day had a mean absolute error of {_DIGITS}. That is more than"
        f" {more - 1:.0%} above the error on the test rows. Check whether features drift and whether the feedback is a"
        " fair sample; then train on newer rows.",
        "model",
    )  # fmt: skip
    level, rows = "max by (job, version) (model_coverage_level)", "version:feedback_coverage_rows:sum24h"
    chance = f"{limits.deviations:g} * sqrt({level} * (1 - {level}) / on (job, version) {rows})"
    yield Alert(
        "LiveCoverageLow",
        f"version:feedback_coverage:24h < on (job, version) ({level} - {limits.coverage_margin})"
        f" and on (job, version) version:feedback_coverage:24h < on (job, version) ({level} - {chance})"
        f" and on (job, version) {rows} >= {limits.min_feedback}",
        timing.soon, "warning",
        f"Prediction intervals or sets contain the truth in only {_PERCENT} of the cases",
        f"In the last day, the truth was inside the interval or set of {_PERCENT} of the predictions with feedback."
        f" That is more than {100 * limits.coverage_margin:g} percentage points below what `coverage` promises, and"
        " more than chance. New rows differ from the training rows. Check whether features drift and whether the"
        " feedback is a fair sample; then train on newer rows.",
        "model",
    )  # fmt: skip
