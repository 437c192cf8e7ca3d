"""Recording rules: error ratios, latency, drift and feedback."""

from dataclasses import dataclass
from typing import Any, Final

from monitoring.timing import Limits, Timing

JOB: Final = "api"
"""The label `job` of all metrics of the service."""
PREDICTING: Final = 'method="POST",handler=~"/predict|/v2/models/.*/infer"'
SERVING: Final = 'handler!~"/metrics|(/v2)?/health/.*"'
"""Requests that count for the objective: all except scrapes and health checks."""

Rule = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Drift:
    """Something that the service counts in bins: the prefix of its metrics and rules, and their labels."""

    name: str
    by: tuple[str, ...]
    references_by: tuple[str, ...] = ()
    """Labels that distinguish several references; live rows are compared with the nearest."""

    @property
    def counted(self) -> str:
        """Counter of rows by bin."""
        return f"{self.name}_rows_total"

    @property
    def reference(self) -> str:
        """Gauge of the reference share in each bin."""
        return f"{self.name}_reference_share"


FEATURES: Final = Drift("feature", ("job", "version", "feature"))
SCORES: Final = Drift("score", ("job", "version"), ("rows",))


def increase(metric: str, window: str) -> str:
    """Return the expression for the exact increase of a counter in a window.

    `increase()` extrapolates each series by its own factor and misses the value of a series at
    its first scrape, so shares of its results are wrong in the third digit. A difference of
    counters is exact. `increase()` is used only if a counter was reset or is gone.
    """
    exact = f"{metric} - ({metric} offset {window} or 0 * {metric})"
    return f"({exact}) and resets({metric}[{window}]) == 0 or increase({metric}[{window}])"


def record(name: str, expr: str) -> Rule:
    """Return a recording rule."""
    return {"record": name, "expr": expr}


def drift(of: Drift, label: str, window: str, limits: Limits) -> list[Rule]:
    """Return the rules for a window.

    PSI = Σ (live - reference) ln(live / reference) over the bins, where no share is below
    `limits.share_floor`. There is a value only if the window has `limits.rows_per_bin` rows
    per bin and `limits.min_rows` in total.
    """
    group, level = ", ".join(of.by), of.name
    references = ", ".join((*of.by, *of.references_by))
    rows, live, total = f"{level}:rows:increase{label}", f"{level}:share:{label}", f"{level}:rows:sum{label}"
    floor = limits.share_floor
    share = f"clamp_min({live}, {floor})"
    reference = f"clamp_min({level}:reference_share, {floor})"
    to = f"on ({group}, bin) group_left () {share}"
    index = f"sum by ({references}) (({reference} - {to}) * ln({reference} / {to}))"
    nearest = f"min by ({group}) " if of.references_by else ""
    return [
        record(rows, f"sum by ({group}, bin) ({increase(of.counted, window)})"),
        record(total, f"sum by ({group}) ({rows})"),
        record(live, f"{rows} / on ({group}) group_left () ({total} > 0)"),
        record(
            f"{level}:psi:{label}",
            f"{nearest}({index}) and on ({group}) {total}"
            f" >= clamp_min({limits.rows_per_bin} * count by ({group}) ({rows}), {limits.min_rows})",
        ),
    ]


def references(of: Drift) -> Rule:
    """Return the rule for the reference shares, which are the same in all instances."""
    labels = ", ".join((*of.by, *of.references_by, "bin"))
    return record(f"{of.name}:reference_share", f"max by ({labels}) ({of.reference})")


def warnings_reference() -> Rule:
    """Return the rule for the share of rows that get a warning without any drift."""
    group = ", ".join(FEATURES.by)
    return record("feature:warnings:reference_share", f"max by ({group}) (prediction_warnings_reference_share)")


def error_ratio(label: str, window: str) -> Rule:
    """Return the rule for the share of requests that got 5xx."""
    failed = f'sum by (job) (rate(http_requests_total{{status="5xx",{SERVING}}}[{window}]))'
    return record(
        f"job:http_request_errors:ratio_rate{label}",
        f"{failed} / (sum by (job) (rate(http_requests_total{{{SERVING}}}[{window}])) > 0)",
    )


def latency(quantile: float, window: str) -> Rule:
    """Return the rule for a quantile of the time to predict, in seconds."""
    buckets = f"rate(http_request_duration_seconds_bucket{{{PREDICTING}}}[{window}])"
    return record(
        f"job:predict_duration_seconds:p{round(quantile * 100)}",
        f"histogram_quantile({quantile}, sum by (job, le) ({buckets})) >= 0",
    )


def feedback(window: str) -> list[Rule]:
    """Return the rules for feedback, by the version that predicted."""
    rows, total = "version:feedback_rows:increase24h", "version:feedback_rows:sum24h"
    error = increase("feedback_absolute_error_total", window)
    covered, covered_total = "version:feedback_coverage_rows:increase24h", "version:feedback_coverage_rows:sum24h"
    return [
        record(rows, f"sum by (job, version, outcome) ({increase('feedback_rows_total', window)})"),
        record(total, f"sum by (job, version) ({rows})"),
        record(
            "version:feedback_accuracy:24h",
            f'sum by (job, version) ({rows}{{outcome="correct"}}) / (sum by (job, version)'
            f' ({rows}{{outcome=~"correct|wrong"}}) > 0)',
        ),
        record("version:feedback_absolute_error:24h", f"sum by (job, version) ({error}) / ({total} > 0)"),
        record(covered, f"sum by (job, version, outcome) ({increase('feedback_coverage_rows_total', window)})"),
        record(covered_total, f"sum by (job, version) ({covered})"),
        record(
            "version:feedback_coverage:24h",
            f'sum by (job, version) ({covered}{{outcome="inside"}}) / ({covered_total} > 0)',
        ),
    ]


RENAMED: Final = {"http_requests_in_progress": "http_requests_inprogress"}
"""New names by old ones; recording rules keep the old ones until the next version."""


def groups(timing: Timing, limits: Limits) -> list[dict[str, Any]]:
    """Return all recording rules in their groups."""
    windows = (("5m", timing.fast), ("30m", timing.slow), ("1h", timing.fast_long), ("6h", timing.slow_long))
    requests = [error_ratio(label, window) for label, window in windows]
    requests += [latency(quantile, timing.fast) for quantile in (0.5, 0.9, 0.99)]
    hourly = [rule for of in (FEATURES, SCORES) for rule in (references(of), *drift(of, "1h", timing.hour, limits))]
    hourly.append(warnings_reference())
    daily = [rule for of in (FEATURES, SCORES) for rule in drift(of, "24h", timing.day, limits)]
    return [
        {"name": "requests", "interval": timing.evaluation, "rules": requests},
        {"name": "drift-1h", "interval": timing.evaluation, "rules": hourly},
        {"name": "drift-24h", "interval": timing.daily_evaluation, "rules": daily},
        {"name": "feedback", "interval": timing.evaluation, "rules": feedback(timing.day)},
        {"name": "renamed", "interval": timing.evaluation, "rules": [record(*names) for names in RENAMED.items()]},
    ]
