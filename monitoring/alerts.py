"""Alerts: what is wrong, how bad it is, and where to read what to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from monitoring.alert import Alert
from monitoring.rules import JOB, PREDICTING, SERVING, increase
from monitoring.timing import Limits, Timing

RUNBOOK: Final = "docs/runbook.md"
GRAFANA: Final = "http://localhost:3000"

_UP: Final = f'up{{job="{JOB}"}}'
_PERCENT: Final = "{{ $value | humanizePercentage }}"
_SECONDS: Final = "{{ $value | humanizeDuration }}"
# `humanize` would write 0.21 as 210m.
_COUNT: Final = '{{ $value | printf "%.0f" }}'
_DECIMAL: Final = '{{ $value | printf "%.2f" }}'
_DIGITS: Final = '{{ $value | printf "%.4g" }}'


def availability(timing: Timing, limits: Limits) -> Iterator[Alert]:
    """Give the alerts about whether anybody answers, and how."""
    yield Alert(
        "ApiDown",
        # Without any target there is no series to compare: that is down as well.
        f"sum by (job) ({_UP}) == 0 or absent({_UP})",
        timing.down, "critical",
        "The prediction API is down",
        "No instance answers Prometheus: callers get no predictions. See that the process runs, then read its log;"
        " if a new commit was just deployed, go back to the one before (runbook).",
        "service",
    )  # fmt: skip
    yield Alert(
        "ApiInstanceDown",
        f"{_UP} == 0 and on (job) sum by (job) ({_UP}) > 0",
        timing.down, "warning",
        "{{ $labels.instance }} of the prediction API is down",
        "The others answer, with less room. Read the log of {{ $labels.instance }}, then start it again.",
        "service",
    )  # fmt: skip
    yield Alert(
        "MetricsLost",
        f"{_UP} == 1 unless on (job, instance) http_requests_total",
        timing.soon, "warning",
        "{{ $labels.instance }} answers, but has lost its counters",
        "Whatever happens on {{ $labels.instance }} now raises no alert. Its workers' counters lie in a folder"
        " (METRICS_DIR, else under /tmp), and somebody has removed it; a restart makes it anew.",
        "service",
    )  # fmt: skip
    fast = timing.fast_long, limits.fast_burn, timing.soon, "two days"
    slow = timing.slow_long, limits.slow_burn, timing.later, "five days"
    yield _Burn("HighErrorRate", "critical", "1h", "5m", *fast).alert(limits)
    yield _Burn("SlowErrorBurn", "warning", "6h", "30m", *slow).alert(limits)
    answered = f'http_request_duration_seconds_bucket{{{PREDICTING},le="+Inf"}}'
    yield Alert(
        "HighLatency",
        # One large table alone is no sign of a slow service.
        f"job:predict_duration_seconds:p99 > {limits.latency_seconds} and on (job)"
        f" round(sum by (job) (increase({answered}[{timing.fast}]))) >= {limits.min_requests}",
        timing.soon, "warning",
        "Predictions are slow: 1 in 100 takes longer than {{ $value | humanizeDuration }}",
        f"The 99th percentile of predicting is {_SECONDS}; the objective is {limits.latency_seconds} s. Look for large"
        " requests (rows per request), a full machine, or a new, larger model.",
        "service",
    )  # fmt: skip
    yield Alert(
        "ServiceRestarts",
        f"round(max by (job, instance) (increase(service_worker_restarts_total[{timing.restarts}])"
        f' or resets(http_requests_total{{method="GET",handler="/metrics",status="2xx"}}[{timing.restarts}])))'
        f" > {limits.restarts}",
        timing.down, "warning",
        "{{ $labels.instance }} keeps restarting",
        f"{_COUNT} restarts lately of workers or of the whole service; requests under way were lost."
        " Its log has the reason of each death; look at memory first.",
        "service",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Burn:
    """How fast the error budget is spent, over a long window, and a short one so that the alert ends soon."""

    name: str
    severity: Literal["critical", "warning"]
    long: str
    """As recording rules name it."""
    short: str
    window: str
    """The long one's length."""
    speed: float
    """Times the rate that spends the budget in 30 days."""
    pending: str
    gone: str
    """When there is nothing left at that speed."""

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
            f"{_PERCENT} of the requests fail: the error budget is gone in {self.gone}",
            f"Over {self.long}, {_PERCENT} of the requests were answered 5xx, and the last {self.short} are no better;"
            f" the objective allows {1 - limits.slo:.1%}. The service's log has a traceback for each. If a new commit"
            " was just deployed, go back to the one before (runbook).",
            "service",
        )


def traffic(timing: Timing, limits: Limits) -> Iterator[Alert]:
    """Give the alerts about who asks."""
    requests = f"http_requests_total{{{PREDICTING}}}"
    yield Alert(
        "NoPredictions",
        f"round(sum by (job) (increase({requests}[{timing.fast}]))) >= {limits.min_requests}"
        f" unless sum by (job) (increase(predictions_total[{timing.fast}])) > 0",
        timing.soon, "critical",
        "Requests come, but nothing is predicted",
        f"{_COUNT} requests to predict came lately and not one was answered with a prediction. See which"
        " status they get: 401 is an expired token or a changed SECRET_KEY, 422 a caller or a model whose fields"
        " changed, 5xx the service.",
        "service",
    )  # fmt: skip
    yield Alert(
        "TrafficStopped",
        f"sum by (job) (rate({requests}[{timing.quiet}])) == 0 and sum by (job)"
        f" (rate({requests}[{timing.busy}] offset {timing.quiet})) > {limits.usual_requests_per_second}",
        timing.soon, "warning",
        "No request to predict comes any more",
        f"Not one request to predict came in {timing.quiet}, after steady traffic. The service answers Prometheus, so"
        " look before it: the callers, the load balancer, DNS, certificates.",
        "service",
    )  # fmt: skip
    yield Alert(
        "RefusedLogins",
        'round(sum by (job) (increase(authentication_events_total{outcome=~"wrong_credentials|throttled_.*"}'
        f"[{timing.fast}]))) > {limits.refused_logins}",
        timing.down, "warning",
        "Many logins are refused",
        f"{_COUNT} logins were refused within {timing.fast}: somebody guesses passwords, or a caller"
        " has an old one. The log names user and request; they are slowed down already.",
        "service",
    )  # fmt: skip


def model(timing: Timing, limits: Limits) -> Iterator[Alert]:
    """Give the alerts about what is served."""
    yield Alert(
        "ModelReloadFailing",
        "max by (job, instance) (model_files_refused) == 1",
        timing.soon, "warning",
        "{{ $labels.instance }} refuses the model that was deployed",
        "The current release is damaged or holds a model that may not be served; the release before serves on. The log"
        " names the file and the reason; `make promote` makes a new release, `make rollback` goes back.",
        "model",
    )  # fmt: skip
    yield Alert(
        "ModelVersionsDiffer",
        "count by (job) (count by (job, version) (model_info)) > 1",
        timing.later, "warning",
        "{{ $value }} versions of the model answer at the same time",
        "Which one a caller gets is chance. Bring all instances to one release: the dashboard shows who serves what.",
        "model",
    )  # fmt: skip
    yield Alert(
        "ModelOld",
        f"(time() - min by (job, version) (model_timestamp_seconds)) / 86400 > {limits.model_age_days}",
        timing.later, "warning",
        f"The model is {_COUNT} days old",
        f"Version {{{{ $labels.version }}}} was made {_COUNT} days ago; {limits.model_age_days}"
        " are allowed. Fetch newer data, `make repro`, review the metrics.",
        "model",
    )  # fmt: skip
    yield from _feedback(timing, limits)


def _feedback(timing: Timing, limits: Limits) -> Iterator[Alert]:
    enough = f"and on (job, version) version:feedback_rows:sum24h >= {limits.min_feedback}"
    yield Alert(
        "LiveAccuracyLow",
        "version:feedback_accuracy:24h < on (job, version) (max by (job, version)"
        f' (model_accepted_metric{{metric="accuracy"}}) - {limits.accuracy_margin}) {enough}',
        timing.soon, "warning",
        f"Live accuracy is down to {_PERCENT}",
        f"Of the predictions whose truth came back within a day {_PERCENT} were right, more than"
        f" {limits.accuracy_margin:.0%} below what evaluation measured. See whether features drift, whether the truth"
        " that comes back is a fair sample, then train on newer rows.",
        "model",
    )  # fmt: skip
    more = round(1 + 5 * limits.accuracy_margin, 6)
    yield Alert(
        "LiveErrorHigh",
        "version:feedback_absolute_error:24h > on (job, version) (max by (job, version)"
        f' (model_accepted_metric{{metric="mean_absolute_error"}}) * {more}) {enough}',
        timing.soon, "warning",
        f"The live mean absolute error is up to {_DIGITS}",
        f"Predictions whose truth came back within a day were off by {_DIGITS} on average, more than"
        f" {more - 1:.0%} above what evaluation measured. See whether features drift, whether the truth that comes"
        " back is a fair sample, then train on newer rows.",
        "model",
    )  # fmt: skip


def data(timing: Timing, limits: Limits) -> Iterator[Alert]:
    """Give the alerts about what callers send."""
    yield Alert(
        "FeatureDrift",
        _either("feature", limits.psi),
        timing.later, "warning",
        "{{ $labels.feature }} is no longer spread as in training",
        f"The population stability index of {{{{ $labels.feature }}}} is {_DECIMAL}; above"
        f" {limits.psi} is a major shift. The dashboard lays training and live shares side by side: a broken source"
        " shows as one bin that swallows the others, a changing world as a slow move.",
        "data",
    )  # fmt: skip
    yield Alert(
        "PredictionDrift",
        _either("score", limits.psi),
        timing.later, "warning",
        "What the model predicts is no longer spread as on the test rows",
        f"The population stability index of the score is {_DECIMAL}; above {limits.psi} is a major"
        " shift. If features drift too, begin with those; if none does, look at the model's version.",
        "data",
    )  # fmt: skip
    missing = 'feature:reference_share{bin="missing"}'
    yield Alert(
        "MissingValues",
        _beyond('feature:share:1h{bin="missing"}', missing, ("bin",), limits.missing_share, limits),
        timing.later, "warning",
        "{{ $labels.feature }} is missing more often than in training",
        f"Rows without {{{{ $labels.feature }}}} are {_PERCENT} of all, in percentage points above training. A source"
        " or a join has likely broken at the caller's.",
        "data",
    )  # fmt: skip
    warned = f"sum by (job, version, feature) ({increase('prediction_warnings_total', timing.hour)})"
    unseen, expected = f"{warned} / on (job, version, feature) feature:rows:sum1h", "feature:warnings:reference_share"
    yield Alert(
        "UnseenValues",
        _beyond(unseen, expected, (), limits.unseen_share, limits),
        timing.later, "warning",
        "{{ $labels.feature }} has more values that training did not know",
        f"Rows with an unseen category or a number out of range in {{{{ $labels.feature }}}} are {_PERCENT} of all, in"
        " percentage points above what new rows like those of training have; the model guesses there. See whether"
        " units or names changed at the caller's.",
        "data",
    )  # fmt: skip


def _beyond(share: str, reference: str, labels: tuple[str, ...], limit: float, limits: Limits) -> str:
    """Return by how much a share is above its reference, where chance in so few rows doesn't explain it."""
    feature = "job, version, feature"
    on = ", ".join((feature, *labels))
    variance = f"{reference} * (1 - {reference}) / on ({feature}) group_left () feature:rows:sum1h"
    chance = f"{limits.deviations:g} * sqrt({variance})"
    return f"{share} - on ({on}) {reference} > on ({on}) {limit} + {chance} and on ({feature}) feature:psi:1h"


def _either(level: str, limit: float) -> str:
    """Compare the last hour, and the last day where the hour has too few rows to say anything."""
    hour, day = f"{level}:psi:1h", f"{level}:psi:24h"
    return f"{hour} > {limit} or ({day} > {limit} unless {hour} <= {limit})"


_ALL: Final[tuple[Callable[[Timing, Limits], Iterator[Alert]], ...]] = (availability, traffic, model, data)


def alerts(timing: Timing, limits: Limits) -> list[Alert]:
    """Give all alerts."""
    return [alert for give in _ALL for alert in give(timing, limits)]


def groups(timing: Timing, limits: Limits, runbook: str = RUNBOOK, grafana: str = GRAFANA) -> list[dict[str, Any]]:
    """Give the alerts as Prometheus reads them."""
    return [
        {
            "name": give.__name__,
            "interval": timing.evaluation,
            "rules": [alert.rule(runbook, grafana) for alert in give(timing, limits)],
        }
        for give in _ALL
    ]
