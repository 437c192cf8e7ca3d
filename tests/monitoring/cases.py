"""For each alert, series just below its threshold, at it, and above it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

DAY = 86_400
VERSION = 'job="api",version="v1"'
FEATURE = 'job="api",version="v1",feature="size"'
PREDICT = 'job="api",instance="a",method="POST",handler="/predict"'

World = Callable[[float], dict[str, float]]
"""Series at a level: the increase of a counter per minute, or the value of a gauge."""


@dataclass(frozen=True)
class Case:
    """Series, and the alert that must fire for them."""

    alert: str
    world: World
    levels: tuple[float, float, float]
    """Below, at and above the threshold; the alert fires at the last one."""
    labels: dict[str, str] = field(default_factory=lambda: {"job": "api"})
    value: str = ""
    """The value as the text shows it, above the threshold."""
    fires_at: bool = False
    """Whether it fires at the threshold."""
    minutes: int = 20
    """How long the series stay at a level before the check."""
    recovery: int = 80
    """How long after a return to `levels[0]` the alert must be gone."""
    before: World | None = None
    """The level in the hour and a half before."""


def _requests(errors: float) -> dict[str, float]:
    return {f'http_requests_total{{{PREDICT},status="2xx"}}': 60_000 - errors,
            f'http_requests_total{{{PREDICT},status="5xx"}}': errors}  # fmt: skip


def _seconds(slow: float) -> dict[str, float]:
    bucket = f"http_request_duration_seconds_bucket{{{PREDICT},le="
    return {f'{bucket}"0.25"}}': 0, f'{bucket}"0.5"}}': 100 - slow, f'{bucket}"1.0"}}': 100, f'{bucket}"+Inf"}}': 100}


def _up(instances: float) -> dict[str, float]:
    return {f'up{{job="api",instance="{name}"}}': float(instances > number) for number, name in enumerate("ab")}


def _lost(lost: float) -> dict[str, float]:
    kept = {} if lost else {'http_requests_total{job="api",instance="a"}': 1}
    return {'up{job="api",instance="a"}': 1.0, **kept}


def _unpredicted(requests: float) -> dict[str, float]:
    return {f'http_requests_total{{{PREDICT},status="4xx"}}': requests,
            f'predictions_total{{{VERSION},instance="a",label="x"}}': 0}  # fmt: skip


def _asked(requests: float) -> dict[str, float]:
    return {f'http_requests_total{{{PREDICT},status="2xx"}}': requests}


def _logins(refused: float) -> dict[str, float]:
    outcome = 'authentication_events_total{job="api",instance="a",outcome='
    return {f'{outcome}"wrong_credentials"}}': refused / 2, f'{outcome}"throttled_address"}}': refused / 2,
            f'{outcome}"granted"}}': 100}  # fmt: skip


def _restarts(restarts: float) -> dict[str, float]:
    return {'service_worker_restarts_total{job="api",instance="a"}': restarts / 15}


def _refused(refused: float) -> dict[str, float]:
    return {'model_files_refused{job="api",instance="a"}': refused}


def _versions(number: float) -> dict[str, float]:
    return {f'model_info{{job="api",instance="{n}",version="v{n}"}}': 1 for n in range(int(number))}


def _age(days: float) -> dict[str, float]:
    return {f'model_timestamp_seconds{{{VERSION},instance="a"}}': 20 * 60 - days * DAY}


def _recorded(name: str, labels: str) -> World:
    return lambda value: {f"{name}{{{labels}}}": value}


def _accuracy(wrong: float) -> dict[str, float]:
    rows = f'feedback_rows_total{{{VERSION},instance="a",outcome='
    return {f'{rows}"correct"}}': 1000 - wrong, f'{rows}"wrong"}}': wrong,
            f'model_accepted_metric{{{VERSION},instance="a",metric="accuracy"}}': 0.75}  # fmt: skip


def _error(error: float) -> dict[str, float]:
    return {f'feedback_rows_total{{{VERSION},instance="a",outcome="measured"}}': 64,
            f'feedback_absolute_error_total{{{VERSION},instance="a"}}': 64 * error,
            f'model_accepted_metric{{{VERSION},instance="a",metric="mean_absolute_error"}}': 4}  # fmt: skip


def coverage(outside: float, rows: float = 1000) -> dict[str, float]:
    count = f'feedback_coverage_rows_total{{{VERSION},instance="a",outcome='
    return {f'{count}"inside"}}': rows - outside, f'{count}"outside"}}': outside,
            f'model_coverage_level{{{VERSION},instance="a"}}': 0.9}  # fmt: skip


def _missing(share: float) -> dict[str, float]:
    # Three standard deviations of a share of 0.2 in 14,400 rows are 0.01.
    return {f'feature:share:1h{{{FEATURE},bin="missing"}}': share, f"feature:psi:1h{{{FEATURE}}}": 0.1,
            f"feature:rows:sum1h{{{FEATURE}}}": 14_400,
            f'feature:reference_share{{{FEATURE},bin="missing"}}': 0.2}  # fmt: skip


def unseen(rows: float, reference: float = 0) -> dict[str, float]:
    return {f'prediction_warnings_total{{{FEATURE},instance="a",kind="out_of_range"}}': rows,
            f"feature:rows:sum1h{{{FEATURE}}}": 100 * 60, f"feature:psi:1h{{{FEATURE}}}": 0.1,
            f'prediction_warnings_reference_share{{{FEATURE},instance="a"}}': reference}  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield every case; a test checks that each alert has one."""
    of_instance, of_feature = {"job": "api", "instance": "a"}, {"job": "api", "version": "v1", "feature": "size"}
    of_version = {"job": "api", "version": "v1"}
    yield Case("ApiDown", _up, (2, 1, 0))
    yield Case("ApiInstanceDown", _up, (2, 1, 1), {"job": "api", "instance": "b"}, fires_at=True)
    yield Case("MetricsLost", _lost, (0, 1, 1), of_instance, fires_at=True, before=lambda _: _lost(0))
    yield Case("HighErrorRate", _requests, (4319, 4320, 4321), value="7.202%", minutes=70)
    yield Case("SlowErrorBurn", _requests, (1799, 1800, 1803), value="3.005%", minutes=380, recovery=40)
    yield Case("HighLatency", _seconds, (0.5, 1, 2), value="750ms")
    yield Case("ServiceRestarts", _restarts, (1, 2, 3), of_instance, "3", minutes=20)
    yield Case("NoPredictions", _unpredicted, (3.8, 4, 4.2), value="21", fires_at=True)
    yield Case("TrafficStopped", _asked, (1, 0.001, 0), minutes=14, recovery=5, before=lambda _: _asked(4))
    yield Case("RefusedLogins", _logins, (9.8, 10, 10.2), value="51")
    yield Case("ModelReloadFailing", _refused, (0, 1, 1), of_instance, fires_at=True)
    yield Case("ModelVersionsDiffer", _versions, (1, 2, 3), value="3", fires_at=True, recovery=20)
    yield Case("ModelOld", _age, (89.9, 90, 91), of_version, "91")
    yield Case("LiveAccuracyLow", _accuracy, (299, 300, 301), of_version, "69.9%", recovery=24 * 60)
    yield Case("LiveErrorHigh", _error, (4.875, 5, 5.5), of_version, "5.5", recovery=24 * 60)
    yield Case("LiveCoverageLow", coverage, (129, 130, 131), of_version, "86.9%", recovery=24 * 60)
    yield Case("FeatureDrift", _recorded("feature:psi:1h", FEATURE), (0.19, 0.2, 0.21), of_feature, "0.21")
    yield Case("PredictionDrift", _recorded("score:psi:1h", VERSION), (0.19, 0.2, 0.21), of_version, "0.21")
    yield Case("MissingValues", _missing, (0.309, 0.31, 0.325), of_feature | {"bin": "missing"}, "12.5%")
    yield Case("UnseenValues", unseen, (4.9, 5, 6), of_feature, "6%", minutes=80)
