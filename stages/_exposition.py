"""The registry's versions as Prometheus text, which the service shows with its own metrics.

No DVC output: it tells of the registry's past, and holds times.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from stages._registry import TRAINING_ROWS, Registry
from stages._tracking import ONNX_MD5

NEWEST = 20
"""Versions that are told of, so that the number of series stays bounded."""
_SKIPPED = ("baseline_", "training_", "latency_")


@dataclass(frozen=True, slots=True)
class Version:
    """What is told of one registered version."""

    number: str
    md5: str
    """MD5 of the ONNX file, by which the service knows the version."""
    created: float
    """When it was registered, seconds since 1970."""
    champion: bool
    rows: int | None
    run_id: str = ""
    """MLflow's run that made it."""
    metrics: Mapping[str, float] = field(default_factory=dict)


def versions(registry: Registry) -> list[Version]:
    """Read the newest versions, the newest first."""
    champion = registry.holder("champion")
    found = registry.client.search_model_versions(f"name = '{registry.name}'")
    newest = sorted(found, key=lambda version: int(version.version), reverse=True)[:NEWEST]
    return [
        Version(
            number=str(each.version),
            md5=each.tags.get(ONNX_MD5, ""),
            created=each.creation_timestamp / 1000,
            champion=champion is not None and str(champion.version) == str(each.version),
            rows=int(each.tags[TRAINING_ROWS]) if TRAINING_ROWS in each.tags else None,
            run_id=each.run_id or "",
            metrics=dict(registry.client.get_run(each.run_id).data.metrics) if each.run_id else {},
        )
        for each in newest
    ]


def text(name: str, found: Iterable[Version]) -> str:
    """Write versions of the model `name` as Prometheus' text format."""
    shown = CollectorRegistry()
    labels = ("name", "number", "version")
    metric = Gauge(
        "registered_model_metric",
        "What was measured of a registered version; fit_seconds is the time of its training.",
        (*labels, "metric"),
        registry=shown,
    )
    created = Gauge(
        "registered_model_created_timestamp_seconds",
        "When a version was registered, seconds since 1970.",
        labels,
        registry=shown,
    )
    info = Gauge(
        "registered_model_info", "The run that made a registered version.", (*labels, "run_id"), registry=shown
    )
    champion = Gauge("registered_model_champion", "1 for the champion, else 0.", labels, registry=shown)
    rows = Gauge("registered_model_training_rows", "Rows that a version was trained on.", labels, registry=shown)
    for each in found:
        key = (name, each.number, each.md5)
        created.labels(*key).set(each.created)
        info.labels(*key, each.run_id).set(1)
        champion.labels(*key).set(float(each.champion))
        if each.rows is not None:
            rows.labels(*key).set(each.rows)
        for measured, value in each.metrics.items():
            if not measured.startswith(_SKIPPED):
                metric.labels(*key, measured).set(value)
    return generate_latest(shown).decode()
