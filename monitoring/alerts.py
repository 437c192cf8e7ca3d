"""The alerts, with their texts and their links to runbook and dashboard."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from monitoring.alert import Alert
from monitoring.alerts_feedback import feedback
from monitoring.rules import JOB, PREDICTING, SERVING, increase
from monitoring.timing import Limits, Timing

RUNBOOK: Final = "docs/reference/runbook.md"
GRAFANA: Final = "http://localhost:3000"

_UP: Final = f'up{{job="{JOB}"}}'
_PERCENT: Final = "{{ $value | humanizePercentage }}"
_SECONDS: Final = "{{ $value | humanizeDuration }}"
# `humanize` would write 0.21 as 210m.
_COUNT: Final = '{{ $value | printf "%.0f" }}'
_DECIMAL: Final = '{{ $value | printf "%.2f" }}'


def availability(timing: Timing, limits: Limits) -> Iterator[Alert]:
    """Yield the alerts about availability, errors and latency."""
    yield Alert(
        "ApiDown",
        # Without any target there is no `up` series; that also means down.
        f"sum by (job) ({_UP}) == 0 or absent({_UP})",
        timing.down, "critical",
        "The prediction API is down",
        "No instance answers Prometheus, so callers get no predictions. Check whether the process runs, and read its"
        " log. If this began with a deployment, roll back to the previous release (runbook).",
        "service",
    )  # fmt: skip
    yield Alert(
        "ApiInstanceDown",
        f"{_UP} == 0 and on (job) sum by (job) ({_UP}) > 0",
        timing.down, "warning",
        "{{ $labels.instance }} of the prediction API is down",
        "The other instances have to handle its load. Read the log of {{ $labels.instance }}, then restart it.",
        "service",
    )  # fmt: skip
    yield Alert(
        "MetricsLost",
        f"{_UP} == 1 unless on (job, instance) http_requests_total",
        timing.soon, "warning",
        "{{ $labels.instance }} answers without its request counters",
        "No alert on requests can fire for {{ $labels.instance }}. Its workers keep their counters in a folder"
        " (METRICS_DIR, by default under /tmp), which was probably deleted. Restart the service: it makes a new one.",
        "service",
    )  # fmt: skip
    fast = timing.fast_long, limits.fast_burn, timing.soon, "two days"
    slow = timing.slow_long, limits.slow_burn, timing.later, "five days"
    yield _Burn("HighErrorRate", "critical", "1h", "5m", *fast).alert(limits)
    yield _Burn("SlowErrorBurn", "warning", "6h", "30m", *slow).alert(limits)
    answered = f'http_request_duration_seconds_bucket{{{PREDICTING},le="+Inf"}}'
    yield Alert(
        "HighLatency",
        # A single large table does not mean that the service is slow.
        f"job:predict_duration_seconds:p99 > {limits.latency_seconds} and on (job)"
        f" round(sum by (job) (increase({answered}[{timing.fast}]))) >= {limits.min_requests}",
        timing.soon, "warning",
        "Predictions are slow: 1 in 100 takes longer than {{ $value | humanizeDuration }}",
        f"The 99th percentile of the time to predict is {_SECONDS}; the objective is {limits.latency_seconds} s. Check"
        " for large requests (rows per request), a busy machine, or a new, larger model.",
        "service",
    )  # fmt: skip
    yield Alert(
        "ServiceRestarts",
        f"round(max by (job, instance) (increase(service_worker_restarts_total[{timing.restarts}])"
        f' or resets(http_requests_total{{method="GET",handler="/metrics",status="2xx"}}[{timing.restarts}])))'
        f" > {limits.restarts}",
        timing.down, "warning",
        "{{ $labels.instance }} keeps restarting",
        f"Workers or the whole service restarted {_COUNT} times in {timing.restarts}, and lost the requests that they"
        " were answering. The log has the reason for each restart; check memory first.",
        "service",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Burn:
    """An alert on the rate at which the error budget is used, over a long window and a short one.

    The short window ends the alert soon after the errors end.
    """

    name: str
    severity: Literal["critical", "warning"]
    long: str
    """The name of the long window in the recording rules."""
    short: str
    window: str
    """The length of the long window."""
    speed: float
    """A multiple of the rate that uses up the budget in 30 days."""
    pending: str
    gone: str
    """How long the budget lasts at that rate."""

    def alert(self, limits: Limits) -> Alert:
        ratio = round(self.speed * (1 - limits.slo), 6)
        failed = f'sum by (job) (increase(http_requests_total{{status="5xx",{SERVING}}}[{self.window}]))'
        return Alert(
            self.name,
            f"job:http_request_errors:ratio_rate{self.long} > {ratio}"
            f" and job:http_request_errors:ratio_rate{self.short} > {ratio}"
            f" and round({failed}) >= {limits.min_errors}",
            self.pending,
            self.severity,
            f"{_PERCENT} of the requests fail; at this rate the error budget lasts {self.gone}",
            f"In the last {self.long}, {_PERCENT} of the requests got 5xx, and it is no better in the last"
            f" {self.short}; the objective allows {1 - limits.slo:.1%}. The service's log has a traceback for each"
            " status 500. If this began with a deployment, roll back to the previous release (runbook).",
            "service",
        )


def traffic(timing: Timing, limits: Limits) -> Iterator[Alert]:
    """Yield the alerts about requests and logins."""
    requests = f"http_requests_total{{{PREDICTING}}}"
    yield Alert(
        "NoPredictions",
        f"round(sum by (job) (increase({requests}[{timing.fast}]))) >= {limits.min_requests}"
        f" unless sum by (job) (increase(predictions_total[{timing.fast}])) > 0",
        timing.soon, "critical",
        "No request to predict succeeds",
        f"None of {_COUNT} requests to predict in {timing.fast} got a prediction. Check their status: 401 means an"
        " expired token or a changed SECRET_KEY, 422 means that the fields of the caller or of the model changed, 5xx"
        " means a fault of the service.",
        "service",
    )  # fmt: skip
    yield Alert(
        "TrafficStopped",
        f"sum by (job) (rate({requests}[{timing.quiet}])) == 0 and sum by (job)"
        f" (rate({requests}[{timing.busy}] offset {timing.quiet})) > {limits.usual_requests_per_second}",
        timing.soon, "warning",
        "Requests to predict have stopped",
        f"After steady traffic, no request to predict arrived in {timing.quiet}. The service answers Prometheus, so"
        " check the callers, the load balancer, DNS and certificates.",
        "service",
    )  # fmt: skip
    yield Alert(
        "RefusedLogins",
        'round(sum by (job) (increase(authentication_events_total{outcome=~"wrong_credentials|throttled_.*"}'
        f"[{timing.fast}]))) > {limits.refused_logins}",
        timing.down, "warning",
        "Many logins are refused",
        f"The service refused {_COUNT} logins in {timing.fast}: somebody guesses passwords, or a caller uses an old"
        " one. It already limits them. The log names the users.",
        "service",
    )  # fmt: skip


def model(timing: Timing, limits: Limits) -> Iterator[Alert]:
    """Yield the alerts about the model in service."""
    yield Alert(
        "ModelReloadFailing",
        "max by (job, instance) (model_files_refused) == 1",
        timing.soon, "warning",
        "{{ $labels.instance }} refuses the newest release",
        "The newest release is damaged or has a model that the service refuses; the previous release stays in service."
        " The log names the file and the reason. `make promote` makes a new release, `make rollback` goes back.",
        "model",
    )  # fmt: skip
    yield Alert(
        "ModelVersionsDiffer",
        "count by (job) (count by (job, version) (model_info)) > 1",
        timing.later, "warning",
        "{{ $value }} versions of the model answer at the same time",
        "Callers get answers of different versions by chance. The dashboard shows which instance serves which; make"
        " all of them serve the same release.",
        "model",
    )  # fmt: skip
    yield Alert(
        "ModelOld",
        f"(time() - min by (job, version) (model_timestamp_seconds)) / 86400 > {limits.model_age_days}",
        timing.later, "warning",
        f"The model is {_COUNT} days old",
        f"Version {{{{ $labels.version }}}} was first registered or released {_COUNT} days ago; the limit is"
        f" {limits.model_age_days}. Get newer data, run `make repro`, and review the metrics.",
        "model",
    )  # fmt: skip
    yield from feedback(timing, limits)


def data(timing: Timing, limits: Limits) -> Iterator[Alert]:
    """Yield the alerts about the rows that callers send."""
    yield Alert(
        "FeatureDrift",
        _either("feature", limits.psi),
        timing.later, "warning",
        "The distribution of {{ $labels.feature }} differs from training",
        f"The population stability index of {{{{ $labels.feature }}}} is {_DECIMAL}; above {limits.psi} is a major"
        " shift. The dashboard shows live and training shares side by side. If one bin has nearly all rows, a source is"
        " probably broken; if all bins change slowly, the data itself changes.",
        "data",
    )  # fmt: skip
    yield Alert(
        "PredictionDrift",
        _either("score", limits.psi),
        timing.later, "warning",
        "The distribution of scores differs from the test rows",
        f"The population stability index of the score is {_DECIMAL}; above {limits.psi} is a major shift. If features"
        " drift too, begin with those; if none does, check whether the model's version changed.",
        "data",
    )  # fmt: skip
    missing = 'feature:reference_share{bin="missing"}'
    yield Alert(
        "MissingValues",
        _beyond('feature:share:1h{bin="missing"}', missing, ("bin",), limits.missing_share, limits),
        timing.later, "warning",
        "{{ $labels.feature }} is missing more often than in training",
        f"The share of rows without {{{{ $labels.feature }}}} is {_PERCENT} (percentage points) higher than in"
        " training. Probably a source or a join of the caller is broken.",
        "data",
    )  # fmt: skip
    warned = f"sum by (job, version, feature) ({increase('prediction_warnings_total', timing.hour)})"
    unseen, expected = f"{warned} / on (job, version, feature) feature:rows:sum1h", "feature:warnings:reference_share"
    yield Alert(
        "UnseenValues",
        _beyond(unseen, expected, (), limits.unseen_share, limits),
        timing.later, "warning",
        "{{ $labels.feature }} has more unknown values than expected",
        f"The share of rows with an unknown category or an out-of-range number in {{{{ $labels.feature }}}} is"
        f" {_PERCENT} (percentage points) higher than expected of new rows. Predictions for these rows are guesses."
        " Check whether the caller changed a unit or names.",
        "data",
    )  # fmt: skip


def _beyond(share: str, reference: str, labels: tuple[str, ...], limit: float, limits: Limits) -> str:
    """Return the expression for a share minus its reference, where that is above the limit and beyond chance."""
    feature = "job, version, feature"
    on = ", ".join((feature, *labels))
    variance = f"{reference} * (1 - {reference}) / on ({feature}) group_left () feature:rows:sum1h"
    chance = f"{limits.deviations:g} * sqrt({variance})"
    return f"{share} - on ({on}) {reference} > on ({on}) {limit} + {chance} and on ({feature}) feature:psi:1h"


def _either(level: str, limit: float) -> str:
    """Return the expression that compares the last hour, or the last day if the hour has too few rows."""
    hour, day = f"{level}:psi:1h", f"{level}:psi:24h"
    return f"{hour} > {limit} or ({day} > {limit} unless {hour} <= {limit})"


_ALL: Final[tuple[Callable[[Timing, Limits], Iterator[Alert]], ...]] = (availability, traffic, model, data)


def alerts(timing: Timing, limits: Limits) -> list[Alert]:
    """Return all alerts."""
    return [alert for group in _ALL for alert in group(timing, limits)]


def groups(timing: Timing, limits: Limits, runbook: str = RUNBOOK, grafana: str = GRAFANA) -> list[dict[str, Any]]:
    """Return the groups of alerts in the format of Prometheus' rule files."""
    return [
        {
            "name": group.__name__,
            "interval": timing.evaluation,
            "rules": [alert.rule(runbook, grafana) for alert in group(timing, limits)],
        }
        for group in _ALL
    ]
