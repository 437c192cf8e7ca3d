"""How long is looked back and waited, and from which value on something is wrong.

All rules are written from one `Timing` and one `Limits`. Tests that fire real alerts use
`SHORT`, so that what they prove is what production runs, only faster.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations as Prometheus writes them: 15s, 5m, 1h.

    Names of recording rules and alerts keep production's windows whatever these say.
    """

    scrape: str = "15s"
    """Between two looks at each instance."""
    evaluation: str = "15s"
    """Between two evaluations of the alerts and of the drift of the last hour."""
    daily_evaluation: str = "2m"
    """Between two evaluations over a day, which read much; beyond 5m values would seem gone in between."""
    hour: str = "1h"
    """Short window of drift."""
    day: str = "24h"
    """Long window of drift."""
    fast: str = "5m"
    """Short window of the error budget's fast burn, and of latency, logins and predictions."""
    fast_long: str = "1h"
    """Long window of the fast burn: how long a short burst is remembered."""
    slow: str = "30m"
    slow_long: str = "6h"
    """Windows of the slow burn."""
    quiet: str = "10m"
    """How long no request must come to call traffic stopped."""
    busy: str = "1h"
    """How long it must have come before."""
    restarts: str = "15m"
    down: str = "1m"
    """How long nothing must answer to be called down."""
    soon: str = "2m"
    """Pending time of what hurts users."""
    later: str = "10m"
    """Pending time of what hurts slowly."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Values above which an alert fires, unless said otherwise."""

    slo: float = 0.995
    """Share of requests that must not fail with 5xx, over 30 days."""
    fast_burn: float = 14.4
    """Times the budget's rate that spends 2 % of it in an hour (Google's SRE workbook, chapter 5)."""
    slow_burn: float = 6.0
    """Times the budget's rate that spends 5 % of it in six hours."""
    min_errors: int = 5
    """Failed requests in the long window below which nobody is woken."""
    latency_seconds: float = 0.5
    """99th percentile of POST /predict."""
    min_requests: int = 20
    """Requests to predict within the short window from which on none predicted is strange, and slow ones count."""
    usual_requests_per_second: float = 0.05
    """Requests to predict, on average over the busy window, whose stop is noticed."""
    model_age_days: int = 90
    psi: float = 0.2
    """Population stability index; 0.1 to 0.2 is a moderate shift, above 0.2 a major one."""
    missing_share: float = 0.1
    """Share of rows without a value above training's share."""
    unseen_share: float = 0.05
    """Share of rows with a value that training did not know, above the share that is expected of new rows."""
    deviations: float = 3.0
    """Standard deviations that a share is above its reference by chance; they add to the two limits above."""
    accuracy_margin: float = 0.05
    """How much live accuracy may be below the accepted one; of a mean absolute error as a share of it, fivefold."""
    min_feedback: int = 100
    """Rows of feedback below which there is no verdict."""
    refused_logins: int = 50
    """Within the short window."""
    restarts: int = 2
    """Within the window of restarts."""
    share_floor: float = 1e-4
    """What an empty bin counts as, for PSI's logarithm; live and training share alike."""
    rows_per_bin: int = 20
    """Rows in the window for each bin of a feature, below which PSI gives no verdict: PSI of rows that did
    not drift is about (bins - 1) / rows, so that chance alone gives at most 0.05."""
    min_rows: int = 200
    """Rows in the window below which nothing is said about any feature: with two bins, 40 rows are too few."""


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
