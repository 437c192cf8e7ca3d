"""All instruments of the service, and the text that /metrics shows of them."""

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest

from service.inputs.layout import Layout
from service.instruments import feedback, predictions
from service.instruments.families import Histogram, VersionCounters
from service.instruments.feedback import FeedbackInstruments
from service.instruments.predictions import INSTANCE_BOUNDS, PredictionInstruments
from service.instruments.releases import InService, ReleaseCollector, find_last_versions
from service.instruments.requests import RequestInstruments
from service.instruments.worker_files import WorkerFiles
from service.model import Model
from service.settings import Settings

FLUSH_SECONDS: Final = 0.25
"""A killed worker loses up to this much of its histograms and bins; request counters lose nothing."""
RELOAD_OUTCOMES: Final = ("reloaded", "refused")
AUTHENTICATION_OUTCOMES: Final = (
    "granted", "wrong_credentials", "invalid_scope", "database_down", "busy", "throttled_address",
    "throttled_username", "unready", "insufficient_scope", "token_missing", "token_malformed", "token_expired",
    "token_claims", "token_signature", "token_revoked", "token_key", "token_sign_in", "provider_down", "other",
)  # fmt: skip


class Instruments:
    """The instruments of one worker; with METRICS_DIR, /metrics shows those of all workers.

    Raises OSError if the folder can't be written.
    """

    def __init__(self, settings: Settings) -> None:
        disable_created_metrics()
        self._files = WorkerFiles(settings.metrics_dir) if settings.metrics_dir else None
        self._releases = settings.releases
        self.registry = registry = CollectorRegistry()
        """Where instruments are registered."""
        self.requests = RequestInstruments(registry)
        self._counters = VersionCounters(registry, {**predictions.COUNTERS, **feedback.COUNTERS})
        self.feedback = FeedbackInstruments(self._counters)
        self._of_version: dict[str, PredictionInstruments] = {}
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self._instances = Histogram(
            "prediction_instances", "Rows per request.", buckets=INSTANCE_BOUNDS, registry=registry
        )
        self._authentication = counter("authentication_events", "Logins and refused tokens, by outcome.", ["outcome"])
        self._reloads = counter("model_reloads", "New releases that went into service or were refused.", ["outcome"])
        for each, outcomes in ((self._authentication, AUTHENTICATION_OUTCOMES), (self._reloads, RELOAD_OUTCOMES)):
            for outcome in outcomes:
                each.labels(outcome)
        refused = "1 while the current release is refused and the previous one stays in service, else 0."
        self._refused = gauge("model_files_refused", refused, multiprocess_mode="livemax")
        self._workers = gauge("service_workers", "Workers that answer.", multiprocess_mode="livesum")
        restarts = counter("service_worker_restarts", "Workers started to replace a dead one.")
        restarts.inc(self._files is not None and self._files.is_replacement)

    async def run(self) -> None:
        """Count this worker among those that answer, and flush every FLUSH_SECONDS until cancelled."""
        self._workers.set(1)
        while True:
            self.flush()
            await asyncio.sleep(FLUSH_SECONDS)

    def flush(self) -> None:
        """Add collected numbers to the instruments; call it in the event loop's thread."""
        self.requests.flush()
        for each in [*self._of_version.values()]:
            each.flush()

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

    def begin(self, model: Model, layout: Layout) -> PredictionInstruments:
        """Return the instruments of a version, whose series begin at zero. The oldest versions' are removed."""
        kept = {*find_last_versions(self._releases, model.version)}
        for version in self.feedback.shown - kept:
            self._of_version.pop(version, None)
            self._counters.forget(version)
        if self._files:
            self._files.keep_versions(kept)
        self.feedback.show(kept)
        if model.version not in self._of_version:
            self._of_version[model.version] = PredictionInstruments(self._counters, self._instances, model, layout)
        return self._of_version[model.version]

    def scrape_registry(self, current: Callable[[], InService]) -> CollectorRegistry:
        """Return the registry that GET /metrics renders: all workers' instruments and the releases."""
        registry = CollectorRegistry()
        registry.register(self._files or self.registry)
        registry.register(ReleaseCollector(self._releases, current))
        return registry


class Exposition:
    """Renders the metrics in a thread, at most once in an interval; all waiting requests get the same text.

    A request waits for a rendering that begins after the request arrived, so its numbers are never old. After an
    interval without requests the next one is answered at once; more frequent ones wait for up to an interval.
    """

    def __init__(self, registry: CollectorRegistry, flush: Callable[[], None], seconds: float) -> None:
        self._registry = registry
        self._flush = flush
        self._seconds = seconds
        self._rendering = asyncio.Lock()
        self._text = b""
        self._began = self._ended = -seconds

    async def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        arrived = monotonic()
        async with self._rendering:
            if self._began < arrived:  # else another request's rendering began after this one arrived
                await asyncio.sleep(self._ended + self._seconds - monotonic())
                began = monotonic()
                self._flush()
                self._text = await asyncio.to_thread(generate_latest, self._registry)
                self._began, self._ended = began, monotonic()
            return self._text
