"""All instruments of the service, and the registry that /metrics shows."""

from collections.abc import Callable
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

from service.inputs.layout import Layout
from service.instruments.events import EventInstruments
from service.instruments.feedback import FeedbackInstruments
from service.instruments.flushing import Flusher
from service.instruments.predictions import PredictionInstruments, Predictions
from service.instruments.releases import History, InService, ReleaseCollector
from service.instruments.requests import RequestInstruments
from service.instruments.worker_files import WorkerFiles
from service.model import Model
from service.settings import Settings


class Instruments:
    """The instruments of one worker; with METRICS_DIR, /metrics shows those of all workers.

    Raises OSError if the folder can't be written.
    """

    def __init__(self, settings: Settings) -> None:
        disable_created_metrics()
        self._files = WorkerFiles(settings.metrics_dir) if settings.metrics_dir else None
        self._history = History(settings.releases)
        self._versions: set[str] = set()
        self._changing = Lock()
        self.registry = registry = CollectorRegistry()
        """Where instruments are registered."""
        self.events = EventInstruments(registry)
        self.feedback = FeedbackInstruments(registry)
        self._flusher = flusher = Flusher()
        self.flush = flusher.flush
        """Add collected numbers to the instruments; call it in the event loop's thread."""
        self.requests = RequestInstruments(registry, flusher)
        self._predictions = Predictions(registry, flusher)
        self._workers = Gauge("service_workers", "Workers that answer.", multiprocess_mode="livesum", registry=registry)
        restarts = Counter("service_worker_restarts", "Workers started to replace a dead one.", registry=registry)
        restarts.inc(self._files is not None and self._files.is_replacement)

    def start(self) -> None:
        """Count this worker among those that answer."""
        self._workers.set(1)

    def begin(self, model: Model, layout: Layout) -> PredictionInstruments:
        """Return the instruments of a version, whose series begin at zero. The oldest versions' are removed."""
        with self._changing:
            kept = {*self._history.last_versions(model.version)}
            for version in self._versions - kept:
                self._predictions.forget(version)
                self.feedback.forget(version)
            if self._files:
                self._files.keep_versions(kept)
            for version in kept:
                self.feedback.begin(version)
            self._versions = kept
            return PredictionInstruments(self._predictions, model, layout)

    def scrape_registry(self, current: Callable[[], InService]) -> CollectorRegistry:
        """Return the registry that GET /metrics renders: all workers' instruments and the releases."""
        registry = CollectorRegistry()
        registry.register(self._files or self.registry)
        registry.register(ReleaseCollector(self._history, current))
        return registry
