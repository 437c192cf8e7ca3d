"""Count logins, refused tokens and new releases by outcome."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

RELOAD_OUTCOMES: Final = ("reloaded", "refused")
AUTHENTICATION_OUTCOMES: Final = (
    "granted", "wrong_credentials", "invalid_scope", "database_down", "busy", "throttled_address",
    "throttled_username", "unready", "insufficient_scope", "token_missing", "token_malformed", "token_expired",
    "token_claims", "token_signature", "token_revoked", "token_key", "token_sign_in", "provider_down", "other",
)  # fmt: skip


class EventInstruments:
    """Counts logins, refused tokens and new releases by outcome."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._authentication = Counter(
            "authentication_events",
            "Logins and refused tokens, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self._reloads = Counter(
            "model_reloads", "New releases that went into service or were refused.", ["outcome"], registry=registry
        )
        self._refused = Gauge(
            "model_files_refused",
            "1 while the current release is refused and the previous one stays in service, else 0.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        for counter, outcomes in ((self._authentication, AUTHENTICATION_OUTCOMES), (self._reloads, RELOAD_OUTCOMES)):
            for outcome in outcomes:
                counter.labels(outcome)

    def count_authentication(self, outcome: str) -> None:
        """Count one login or refusal."""
        self._authentication.labels(outcome if outcome in AUTHENTICATION_OUTCOMES else "other").inc()

    def count_reload(self, outcome: str) -> None:
        """Count one new release."""
        self._reloads.labels(outcome).inc()
        self.set_refused(is_refused=outcome == "refused")

    def set_refused(self, *, is_refused: bool) -> None:
        """Set whether the current release is refused."""
        self._refused.set(is_refused)
