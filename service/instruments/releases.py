"""The build, the release in service and those before it."""

import contextlib
import platform
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service import release
from service.instruments.predictions import PredictionInstruments
from service.model import RUNTIME_VERSION
from service.release import Release, ReleaseError
from service.settings import ROOT

NEWEST: Final = 20
"""How many releases are shown, so that the number of series stays bounded."""
KEPT: Final = 8
"""Versions whose counts are shown: each is some hundred series, and a new one may come every hour."""
_SKIPPED: Final = ("baseline_", "training_", "latency_")


class InService(NamedTuple):
    """The release in service."""

    folder: str
    """Name of the release's folder."""
    release: Release
    predictions: PredictionInstruments

    @property
    def version(self) -> str:
        """MD5 of the model."""
        return self.release.onnx_md5


class ReleaseCollector(Collector):
    """Shows what every worker knows of releases."""

    def __init__(self, history: "History", current: Callable[[], InService]) -> None:
        self._current = current
        self._history = history
        self._build = {
            "version": _version(ROOT / "pyproject.toml"),
            "python": platform.python_version(),
            "onnxruntime": RUNTIME_VERSION,
        }

    def collect(self) -> Iterator[Metric]:
        """Return every family."""
        current = self._current()
        history = {**self._history.newest(), current.folder: current.release}
        build = GaugeMetricFamily("service_build_info", "What answers.", labels=list(self._build))
        build.add_metric(list(self._build.values()), 1.0)
        yield build
        info = GaugeMetricFamily("model_info", "The model in service.", labels=["name", "version", "data_md5"])
        info.add_metric([current.release.name, current.version, current.release.data_md5 or ""], 1.0)
        yield info
        yield from current.predictions.references()
        yield _model_timestamp(current, history)
        accepted = GaugeMetricFamily(
            "model_accepted_metric", "What evaluation measured on the test rows.", labels=["version", "metric"]
        )
        for name, value in _numbers(current.release):
            accepted.add_metric([current.version, name], value)
        yield accepted
        yield from _releases(current, history)


class History:
    """The newest releases; a release never changes, so each is read once."""

    def __init__(self, releases: Path) -> None:
        self._releases = releases
        self._known: dict[str, Release] = {}

    def newest(self) -> dict[str, Release]:
        """Return releases by the name of their folder, without those that cannot be read."""
        with contextlib.suppress(OSError, ReleaseError):
            folders = release.find_released(self._releases)[-NEWEST:]
            self._known = {folder.name: found for folder in folders if (found := self._read(folder)) is not None}
        return self._known

    def last_versions(self, current: str) -> list[str]:
        """Return the model's versions that were released last, at most `KEPT`, and the `current` one."""
        released = [each.onnx_md5 for each in self.newest().values()]
        return list(dict.fromkeys([current, *reversed(released)]))[:KEPT]

    def _read(self, folder: Path) -> Release | None:
        if folder.name not in self._known:
            with contextlib.suppress(ReleaseError):
                return release.load(folder)
        return self._known.get(folder.name)


def _model_timestamp(current: InService, history: Mapping[str, Release]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "model_timestamp_seconds",
        "When the model in service was first registered (source registry) or, if the registry does not know it, first "
        "released (source release); seconds since 1970.",
        labels=["version", "source"],
    )
    same = [each for each in history.values() if each.onnx_md5 == current.version]
    registered = [each.registry.registered_at for each in same if each.registry]
    source = "registry" if registered else "release"
    family.add_metric([current.version, source], min(registered or [each.at for each in same]).timestamp())
    return family


def _releases(current: InService, history: Mapping[str, Release]) -> Iterator[Metric]:
    labels = ["release", "version"]
    made = GaugeMetricFamily("release_timestamp_seconds", "When it was released, seconds since 1970.", labels=labels)
    in_service = GaugeMetricFamily("release_current", "1 for the release in service, else 0.", labels=labels)
    rows = GaugeMetricFamily("release_training_rows", "Rows that its model was trained on.", labels=labels)
    metrics = GaugeMetricFamily(
        "release_metric", "What evaluation measured on the test rows.", labels=[*labels, "metric"]
    )
    info_labels = [*labels, "name", "verdict", "number", "run_id", "revision"]
    info = GaugeMetricFamily("release_info", "A release and where it came from.", labels=info_labels)
    for folder, each in history.items():
        key = [folder, each.onnx_md5]
        made.add_metric(key, each.at.timestamp())
        in_service.add_metric(key, float(folder == current.folder))
        if each.training_rows is not None:
            rows.add_metric(key, each.training_rows)
        for name, value in _numbers(each):
            if not name.startswith(_SKIPPED):
                metrics.add_metric([*key, name], value)
        number, run_id = (str(each.registry.version), each.registry.run_id) if each.registry else ("", "")
        info.add_metric([*key, each.name, each.verdict, number, run_id, each.revision or ""], 1.0)
    yield from (info, made, in_service, rows, metrics)


def _numbers(found: Release) -> Iterator[tuple[str, float]]:
    for name, value in found.metrics.items():
        if isinstance(value, float | int) and not isinstance(value, bool):
            yield name, float(value)


def _version(path: Path) -> str:
    """The project's version; empty where the service runs without its pyproject.toml."""
    if not path.is_file():
        return ""
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"])
