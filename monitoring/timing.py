"""The windows, waiting times and limits of all rules.

All rules are written from one `Timing` and one `Limits`. Tests that fire real alerts use
`SHORT`: the same rules with shorter windows.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations as Prometheus writes them: 15s, 5m, 1h.

    The names of recording rules always have the windows of production.
    """

    scrape: str = "15s"
    """Time between two scrapes of an instance."""
    evaluation: str = "15s"
    """Time between two evaluations of the alerts and of the last hour's drift."""
    daily_evaluation: str = "2m"
    """Time between two evaluations of the last day's drift, which read many samples. At most 5m: after that Prometheus
    treats a value as gone."""
    hour: str = "1h"
    """Short window for drift."""
    day: str = "24h"
    """Long window for drift."""
    fast: str = "5m"
    """Short window for the fast burn of the error budget, for latency, logins and predictions."""
    fast_long: str = "1h"
    """Long window for the fast burn."""
    slow: str = "30m"
    slow_long: str = "6h"
    """Short and long window for the slow burn."""
    quiet: str = "10m"
    """How long without requests means that traffic has stopped."""
    busy: str = "1h"
    """The window before that, which must have had traffic."""
    restarts: str = "15m"
    down: str = "1m"
    """How long without an answer means down."""
    soon: str = "2m"
    """Pending time of alerts that affect users now."""
    later: str = "10m"
    """Pending time of alerts that affect users slowly."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Values above which an alert fires, unless the field says otherwise."""

    slo: float = 0.995
    """The objective: share of requests without 5xx, over 30 days."""
    fast_burn: float = 14.4
    """A multiple of the budget's rate: uses 2 % of the budget in an hour (Google's SRE workbook, chapter 5)."""
    slow_burn: float = 6.0
    """A multiple of the budget's rate: uses 5 % of the budget in six hours."""
    min_errors: int = 5
    """The fewest failed requests in the long window that raise an alert."""
    latency_seconds: float = 0.5
    """99th percentile of POST /predict."""
    min_requests: int = 20
    """The fewest requests to predict in the short window for NoPredictions and HighLatency."""
    usual_requests_per_second: float = 0.05
    """The lowest average rate in the busy window for TrafficStopped."""
    model_age_days: int = 90
    psi: float = 0.2
    """Population stability index; 0.1 to 0.2 is a moderate shift, above 0.2 a major one."""
    missing_share: float = 0.1
    """How much the share of rows without a value may be above training's."""
    unseen_share: float = 0.05
    """How much the share of rows with an unknown value may be above what is expected of new rows."""
    deviations: float = 3.0
    """Standard deviations of a share, which are added to the two limits above to allow for chance."""
    accuracy_margin: float = 0.05
    """How much live accuracy may be below the one on the test rows; a mean absolute error may be five times this
    share above."""
    coverage_margin: float = 0.03
    """How much the live coverage of intervals or sets may be below the promised one."""
    min_feedback: int = 100
    """The fewest rows of feedback that raise an alert."""
    refused_logins: int = 50
    """In the short window."""
    restarts: int = 2
    """In the window of restarts."""
    share_floor: float = 1e-4
    """The lowest share of a bin, live or training: the PSI's logarithm has no value for 0."""
    rows_per_bin: int = 20
    """The fewest rows in the window per bin of a feature for a PSI: without drift the PSI is about
    (bins - 1) / rows, so chance gives at most 0.05."""
    min_rows: int = 200
    """The fewest rows in the window for a PSI: with two bins, 40 rows would be too few."""


PRODUCTION: Final = Timing()
SHORT: Final = Timing(
    scrape="1s",
    evaluation="1s",
    daily_evaluation="1s",
    hour="15s",
    day="30s",
    fast="5s",
    fast_long="12s",
    slow="10s",
    slow_long="20s",
    quiet="20s",
    busy="20s",
    restarts="20s",
    down="3s",
    soon="2s",
    later="3s",
)
LIMITS: Final = Limits()
