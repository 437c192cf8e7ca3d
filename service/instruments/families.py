"""Metric families that prometheus_client doesn't have."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.core import GaugeMetricFamily

Specifications = Mapping[str, tuple[str, ...]]
"""Each counter's help text, then its labels after `version`, by its name."""


class Histogram(prometheus_client.Histogram):
    """A histogram that observes many values at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe all `amounts`; hundreds take hardly longer than a few."""
        counts = np.bincount(np.searchsorted(self._upper_bounds, amounts))
        for place in np.flatnonzero(counts).tolist():
            self._buckets[place].inc(float(counts[place]))
        self._sum.inc(float(sum(amounts)))


class VersionCounters:
    """Counters with the label `version`, whose series are removed with the model's version."""

    def __init__(self, registry: CollectorRegistry, specifications: Specifications) -> None:
        self._counters = {
            name: Counter(name, help_, ("version", *labels), registry=registry)
            for name, (help_, *labels) in specifications.items()
        }

    def begin(self, name: str, version: str, *labels: str) -> Counter:
        """Return one series. It begins at zero, because Prometheus sees no increase in a series that begins at one."""
        return self._counters[name].labels(version, *labels)

    def forget(self, version: str) -> None:
        """Remove all series of a version."""
        for counter in self._counters.values():
            counter.remove_by_labels({"version": version})


def gauge(name: str, help_: str, labels: list[str], values: Iterable[tuple[Iterable[str], float]]) -> Metric:
    """Return a gauge with the given values by label values."""
    family = GaugeMetricFamily(name, help_, labels=labels)
    for texts, value in values:
        family.add_metric([*texts], value)
    return family
