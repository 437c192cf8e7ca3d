"""What the workers counted, as prometheus_client shows it."""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.counting.totals import Total, totals


class CountersCollector(Collector):
    """Adds up the files in `directory` whenever metrics are asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def describe(self) -> list[Metric]:
        """Name nothing beforehand, so that registering reads no file."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        return map(_metric, totals(self.directory))


def _metric(total: Total) -> Metric:
    family = total.family
    if family.kind == "histogram":
        return _histogram(total)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, numbers in total.values.items():
        metric.add_metric(labels, float(numbers[0]))
    return metric


def _histogram(total: Total) -> Metric:
    family = total.family
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*map(floatToGoString, family.bounds), "+Inf"]
    for labels, numbers in total.values.items():
        *buckets, summed = numbers.tolist()
        metric.add_metric(labels, list(zip(bounds, accumulate(buckets), strict=True)), summed)
    return metric
