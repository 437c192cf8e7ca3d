"""The build, the release in service and those before it."""

import contextlib
import platform
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import Metric
from prometheus_client.registry import Collector

from service import release
from service.instruments.families import gauge
from service.instruments.predictions import PredictionInstruments
from service.model import RUNTIME_VERSION
from service.release import Release, ReleaseError
from service.settings import ROOT

NEWEST: Final = 20
"""How many releases are shown, so that the number of series stays bounded."""
KEPT: Final = 8
"""Versions whose counts are shown: each is some hundred series, and a new one may come every hour."""
_METRIC_HELP: Final = "What evaluation measured on the test rows."
_SKIPPED: Final = ("baseline_", "training_", "latency_")


class InService(NamedTuple):
    """The release in service."""

    folder: str
    """Name of the release's folder."""
    release: Release
    predictions: PredictionInstruments


_load = lru_cache(NEWEST)(release.load)  # a release never changes


def find_newest(releases: Path) -> dict[str, Release]:
    """Return the newest releases by the name of their folder, without those that can't be read."""
    found = {}
    with contextlib.suppress(OSError, ReleaseError):
        for folder in release.find_released(releases)[-NEWEST:]:
            with contextlib.suppress(ReleaseError):
                found[folder.name] = _load(folder)
    return found


def find_last_versions(releases: Path, current: str) -> list[str]:
    """Return the model's versions that were released last, at most `KEPT`, the `current` one among them."""
    released = [each.onnx_md5 for each in find_newest(releases).values()]
    return list(dict.fromkeys([current, *reversed(released)]))[:KEPT]


class ReleaseCollector(Collector):
    """Shows what every worker knows of releases."""

    def __init__(self, releases: Path, current: Callable[[], InService]) -> None:
        self._releases = releases
        self._current = current
        self._build = {
            "version": _version(ROOT / "pyproject.toml"),
            "python": platform.python_version(),
            "onnxruntime": RUNTIME_VERSION,
        }

    def collect(self) -> Iterator[Metric]:
        """Return every family."""
        current = self._current()
        served = current.release
        version = served.onnx_md5
        history = {**find_newest(self._releases), current.folder: served}
        yield gauge("service_build_info", "What answers.", [*self._build], [([*self._build.values()], 1)])
        model = served.name, version, served.data_md5 or ""
        yield gauge("model_info", "The model in service.", ["name", "version", "data_md5"], [(model, 1)])
        yield from current.predictions.references()
        same = [each for each in history.values() if each.onnx_md5 == version]
        registered = [each.registry.registered_at for each in same if each.registry]
        made = min(registered or [each.at for each in same]).timestamp()
        text = "When the model in service was first registered, or first released if it isn't; seconds since 1970."
        source = version, "registry" if registered else "release"
        yield gauge("model_timestamp_seconds", text, ["version", "source"], [(source, made)])
        accepted = [((version, name), value) for name, value in _numbers(served)]
        yield gauge("model_accepted_metric", _METRIC_HELP, ["version", "metric"], accepted)
        yield from _describe(history, current.folder)


def _describe(history: dict[str, Release], current: str) -> Iterator[Metric]:
    """Return the families with a series for each release."""
    releases = [((folder, each.onnx_md5), each) for folder, each in history.items()]

    def family(name: str, help_: str, values: Iterable[tuple[Iterable[str], float]], *labels: str) -> Metric:
        return gauge(name, help_, ["release", "version", *labels], values)

    about = [((*key, each.name, each.verdict, *_registered(each), each.revision or ""), 1.0) for key, each in releases]
    labels = "name", "verdict", "number", "run_id", "revision"
    yield family("release_info", "A release and where it came from.", about, *labels)
    times = [(key, each.at.timestamp()) for key, each in releases]
    yield family("release_timestamp_seconds", "When it was released, seconds since 1970.", times)
    in_service = [(key, float(key[0] == current)) for key, _ in releases]
    yield family("release_current", "1 for the release in service, else 0.", in_service)
    rows = [(key, each.training_rows) for key, each in releases if each.training_rows is not None]
    yield family("release_training_rows", "Rows that its model was trained on.", rows)
    numbers = [((*key, name), value) for key, each in releases for name, value in _numbers(each)]
    shown = [(key, value) for key, value in numbers if not key[-1].startswith(_SKIPPED)]
    yield family("release_metric", _METRIC_HELP, shown, "metric")


def _registered(found: Release) -> tuple[str, str]:
    return (str(found.registry.version), found.registry.run_id) if found.registry else ("", "")


def _numbers(found: Release) -> Iterator[tuple[str, float]]:
    for name, value in found.metrics.items():
        if isinstance(value, float | int) and not isinstance(value, bool):
            yield name, float(value)


def _version(path: Path) -> str:
    """Return the project's version; nothing where the service runs without its pyproject.toml."""
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"]) if path.is_file() else ""
