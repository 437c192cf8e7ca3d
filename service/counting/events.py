"""What became of logins, of tokens, and of new artifacts, counted."""

from typing import Final

from service.counting.counters import Counters
from service.counting.families import Family

RELOAD_OUTCOMES: Final = ("reloaded", "refused")
AUTHENTICATION_OUTCOMES: Final = (
    "granted",
    "wrong_credentials",
    "invalid_scope",
    "database_down",
    "busy",
    "throttled_address",
    "throttled_username",
    "unready",
    "insufficient_scope",
    "token_missing",
    "token_malformed",
    "token_expired",
    "token_claims",
    "token_signature",
    "token_revoked",
    "other",
)


class EventMetrics:
    """What became of logins, of tokens that were refused, and of new artifacts."""

    def __init__(self, counters: Counters) -> None:
        self._block = counters.block(
            Family(
                "authentication_events",
                "Logins, and tokens refused, by what became of them.",
                labels=("outcome",),
                series=tuple((outcome,) for outcome in AUTHENTICATION_OUTCOMES),
            ),
            Family(
                "model_reloads",
                "New artifacts taken into service or refused.",
                labels=("outcome",),
                series=tuple((outcome,) for outcome in RELOAD_OUTCOMES),
            ),
            Family(
                "model_files_refused",
                "1 while the artifact's files are refused and the one before serves on, else 0.",
                kind="gauge",
                merge="max",
            ),
        )

    def count_outcome(self, outcome: str) -> None:
        """Count one login or refusal."""
        known = outcome if outcome in AUTHENTICATION_OUTCOMES else "other"
        self._block.add(self._block.index("authentication_events", known))

    def count_reload(self, outcome: str) -> None:
        """Count one new artifact."""
        self._block.add(self._block.index("model_reloads", outcome))
        self.set_refused(float(outcome == "refused"))

    def set_refused(self, value: float) -> None:
        """Tell whether the files that are there now are refused."""
        self._block.set(self._block.index("model_files_refused"), value)
