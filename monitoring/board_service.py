"""The dashboard Service: traffic, errors, latency, load."""

from typing import Final

from monitoring.board import API, BUDGET, RATE, Board
from monitoring.panels import Panel
from monitoring.rules import PREDICTING, SERVING
from monitoring.timing import LIMITS

_FAILED: Final = f'sum(increase(http_requests_total{{{API},status="5xx",{SERVING}}}[$__range]))'
_ALL: Final = f"sum(increase(http_requests_total{{{API},{SERVING}}}[$__range]))"


def _quantile(quantile: float) -> str:
    buckets = f"rate(http_request_duration_seconds_bucket{{{API},{PREDICTING}}}{RATE})"
    return f"histogram_quantile({quantile}, sum by (le) ({buckets}))"


SERVICE: Final = Board(
    "service",
    "Service",
    "Whether the prediction API answers, how fast, and how much of the error budget is left.",
    ("instance",),
    (
        Panel(
            "Instances up",
            "Instances that answer Prometheus.",
            {"up": f"sum(up{{{API}}})"},
            "stat",
            warn=1,
            limit=1,
            low_is_bad=True,
            width=4,
            height=5,
        ),
        Panel(
            "Requests",
            "Requests answered per second, without scrapes and health checks.",
            {"requests": f"sum(rate(http_requests_total{{{API},{SERVING}}}{RATE}))"},
            "stat",
            "reqps",
            width=5,
            height=5,
        ),
        Panel(
            "Error budget left",
            f"{BUDGET:.1%} of the requests may fail. The share of this budget that is left in the time range shown;"
            " below 0 the service misses its objective.",
            {"left": f"1 - {_FAILED} / {_ALL} / {BUDGET}"},
            "stat",
            "percentunit",
            warn=0.5,
            limit=0.1,
            low_is_bad=True,
            width=5,
            height=5,
        ),
        Panel(
            "99th percentile",
            "One in 100 requests to predict takes longer than this.",
            {"p99": _quantile(0.99)},
            "stat",
            "s",
            warn=LIMITS.latency_seconds / 2,
            limit=LIMITS.latency_seconds,
            width=5,
            height=5,
        ),
        Panel(
            "In progress",
            "Requests that the service is answering. If the number keeps rising, the service is overloaded.",
            {"requests": f"sum(http_requests_inprogress{{{API}}})"},
            "stat",
            width=5,
            height=5,
        ),
        Panel(
            "Traffic by route",
            "Requests per second, by route.",
            {"{{method}} {{handler}}": f"sum by (method, handler) (rate(http_requests_total{{{API}}}{RATE})) > 0"},
            unit="reqps",
        ),
        Panel(
            "Traffic by status",
            "Requests per second, by class of status. 4xx is a mistake of the caller, 5xx of the service.",
            {"{{status}}": f"sum by (status) (rate(http_requests_total{{{API},{SERVING}}}{RATE}))"},
            unit="reqps",
        ),
        Panel(
            "Share of failed requests",
            f"Share of requests that got 5xx. HighErrorRate fires above the upper line ({LIMITS.fast_burn:g} times the "
            f"budget), SlowErrorBurn above the lower one ({LIMITS.slow_burn:g} times).",
            {
                "last 5 minutes": "job:http_request_errors:ratio_rate5m",
                "last hour": "job:http_request_errors:ratio_rate1h",
            },
            unit="percentunit",
            warn=LIMITS.slow_burn * BUDGET,
            limit=LIMITS.fast_burn * BUDGET,
        ),
        Panel(
            "Latency of predictions",
            "Quantiles of the time from the first byte of a request to the last byte of the answer.",
            {"p50": _quantile(0.5), "p90": _quantile(0.9), "p99": _quantile(0.99)},
            unit="s",
            warn=LIMITS.latency_seconds / 2,
            limit=LIMITS.latency_seconds,
        ),
        Panel(
            "Latency heatmap",
            "Requests to predict per second, by duration. Two bands mean two kinds of requests.",
            {"{{le}}": f"sum by (le) (rate(http_request_duration_seconds_bucket{{{API},{PREDICTING}}}{RATE}))"},
            "heatmap",
            "s",
        ),
        Panel(
            "Rows per request",
            "Rows in a request to predict: the average, and what 9 in 10 requests don't exceed.",
            {
                "average": f"sum(rate(prediction_instances_sum{{{API}}}{RATE})) / "
                f"(sum(rate(prediction_instances_count{{{API}}}{RATE})) > 0)",
                "p90": f"histogram_quantile(0.9, sum by (le) (rate(prediction_instances_bucket{{{API}}}{RATE})))",
            },
        ),
        Panel(
            "Workers",
            "Worker processes and their restarts in 15 minutes, by instance.",
            {
                "workers {{instance}}": f"service_workers{{{API}}} or up{{{API}}}",
                "restarts {{instance}}": f"increase(service_worker_restarts_total{{{API}}}[15m])",
            },
        ),
        Panel(
            "Logins and refused tokens",
            "Outcomes of logins, and refused tokens, per second.",
            {"{{outcome}}": f"sum by (outcome) (rate(authentication_events_total{{{API}}}{RATE}))"},
            unit="ops",
        ),
    ),
)
