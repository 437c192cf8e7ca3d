"""The dashboard of what answers: traffic, errors, latency, room left."""

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
    "Whether the prediction API answers, how fast, and how many errors it may still make.",
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
            "Requests answered in a second, without those that watch the service.",
            {"requests": f"sum(rate(http_requests_total{{{API},{SERVING}}}{RATE}))"},
            "stat",
            "reqps",
            width=5,
            height=5,
        ),
        Panel(
            "Error budget left",
            f"Of the {BUDGET:.1%} of requests that may fail, the share still unspent in the time "
            "shown; below 0 the objective is missed.",
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
            "1 of 100 requests to predict takes longer.",
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
            "Requests begun and not yet answered. A number that climbs means the service is full.",
            {"requests": f"sum(http_requests_inprogress{{{API}}})"},
            "stat",
            width=5,
            height=5,
        ),
        Panel(
            "Traffic by route",
            "Requests in a second by route.",
            {"{{method}} {{handler}}": f"sum by (method, handler) (rate(http_requests_total{{{API}}}{RATE})) > 0"},
            unit="reqps",
        ),
        Panel(
            "Traffic by status",
            "Requests in a second by class of status: 4xx is the callers' mistake, 5xx the service's.",
            {"{{status}}": f"sum by (status) (rate(http_requests_total{{{API},{SERVING}}}{RATE}))"},
            unit="reqps",
        ),
        Panel(
            "Share of failed requests",
            f"Share answered 5xx. The lines are the rates that page within an hour "
            f"({LIMITS.fast_burn:g} times the budget) and that become a ticket ({LIMITS.slow_burn:g} times).",
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
            "Quantiles of the time from a request's first byte to the answer's last.",
            {"p50": _quantile(0.5), "p90": _quantile(0.9), "p99": _quantile(0.99)},
            unit="s",
            warn=LIMITS.latency_seconds / 2,
            limit=LIMITS.latency_seconds,
        ),
        Panel(
            "Latency heatmap",
            "How many predictions in a second took how long: two bands are two kinds of requests.",
            {"{{le}}": f"sum by (le) (rate(http_request_duration_seconds_bucket{{{API},{PREDICTING}}}{RATE}))"},
            "heatmap",
            "s",
        ),
        Panel(
            "Rows per request",
            "Rows that a request to predict brings: average, and what 9 of 10 do not exceed.",
            {
                "average": f"sum(rate(prediction_instances_sum{{{API}}}{RATE})) / "
                f"(sum(rate(prediction_instances_count{{{API}}}{RATE})) > 0)",
                "p90": f"histogram_quantile(0.9, sum by (le) (rate(prediction_instances_bucket{{{API}}}{RATE})))",
            },
        ),
        Panel(
            "Workers",
            "Processes that answer, by instance, and restarts in 15 minutes.",
            {
                "workers {{instance}}": f"service_workers{{{API}}} or up{{{API}}}",
                "restarts {{instance}}": f"increase(service_worker_restarts_total{{{API}}}[15m])",
            },
        ),
        Panel(
            "Logins and refused tokens",
            "What became of logins, and of tokens that were not accepted, in a second.",
            {"{{outcome}}": f"sum by (outcome) (rate(authentication_events_total{{{API}}}{RATE}))"},
            unit="ops",
        ),
    ),
)
