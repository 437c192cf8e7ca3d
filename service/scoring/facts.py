"""What /metrics tells beside what is counted: the build, the release in service and those before it."""

import contextlib
import platform
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service import release
from service.counting.counters import Block, Counters
from service.counting.families import Family
from service.model import RUNTIME_VERSION
from service.release import Release, ReleaseError
from service.settings import ROOT, Settings

if TYPE_CHECKING:
    from service.scoring.artifact import Artifact
    from service.scoring.serving import Serving

NEWEST: Final = 20
"""How many releases are shown, so that the number of series stays bounded."""
_SKIPPED: Final = ("baseline_", "training_", "latency_")
IN_PROGRESS: Final = Family("http_requests_in_progress", "Requests begun and not yet answered.", kind="gauge")


class InProgress(AbstractContextManager[None]):
    """Requests under way, of all workers together; used as a context, in the event loop's thread."""

    def __init__(self, counters: Counters) -> None:
        self._block: Block = counters.block(IN_PROGRESS)  # a mapping lives as long as its block
        self._cells = self._block.cells

    def __enter__(self) -> None:
        self._cells[0] += 1.0

    def __exit__(self, *_: object) -> None:
        self._cells[0] -= 1.0


class FactsCollector(Collector):
    """Gives what any worker knows, all of them the same."""

    def __init__(self, settings: Settings, serving: "Serving") -> None:
        self._serving = serving
        self._history = _History(settings.releases)
        self._build = {
            "version": _version(ROOT / "pyproject.toml"),
            "python": platform.python_version(),
            "onnxruntime": RUNTIME_VERSION,
        }

    def describe(self) -> list[Metric]:
        """Name nothing beforehand, so that registering reads no file."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        artifact = self._serving.current.artifact
        history = {**self._history.newest(), artifact.folder: artifact.release}
        build = GaugeMetricFamily("service_build_info", "What answers.", labels=list(self._build))
        build.add_metric(list(self._build.values()), 1.0)
        yield build
        yield _model_timestamp(artifact, history)
        accepted = GaugeMetricFamily(
            "model_accepted_metric", "What evaluation measured on the test rows.", labels=["version", "metric"]
        )
        for name, value in _numbers(artifact.release):
            accepted.add_metric([artifact.version, name], value)
        yield accepted
        yield from _releases(artifact, history)


class _History:
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

    def _read(self, folder: Path) -> Release | None:
        if folder.name not in self._known:
            with contextlib.suppress(ReleaseError):
                return release.load(folder)
        return self._known.get(folder.name)


def _model_timestamp(artifact: "Artifact", history: Mapping[str, Release]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "model_timestamp_seconds",
        "When the model in service was first registered (source registry) or, if the registry does not know it, first "
        "released (source release); seconds since 1970.",
        labels=["version", "source"],
    )
    same = [each for each in history.values() if each.onnx_md5 == artifact.version]
    registered = [each.registry.registered_at for each in same if each.registry]
    source = "registry" if registered else "release"
    family.add_metric([artifact.version, source], min(registered or [each.at for each in same]).timestamp())
    return family


def _releases(artifact: "Artifact", history: Mapping[str, Release]) -> Iterator[Metric]:
    labels = ["release", "version"]
    made = GaugeMetricFamily("release_timestamp_seconds", "When it was released, seconds since 1970.", labels=labels)
    current = GaugeMetricFamily("release_current", "1 for the release in service, else 0.", labels=labels)
    rows = GaugeMetricFamily("release_training_rows", "Rows that its model was trained on.", labels=labels)
    metrics = GaugeMetricFamily(
        "release_metric", "What evaluation measured on the test rows.", labels=[*labels, "metric"]
    )
    info_labels = [*labels, "name", "verdict", "number", "run_id", "revision"]
    info = GaugeMetricFamily("release_info", "A release and where it came from.", labels=info_labels)
    for folder, each in history.items():
        key = [folder, each.onnx_md5]
        made.add_metric(key, each.at.timestamp())
        current.add_metric(key, float(folder == artifact.folder))
        if each.training_rows is not None:
            rows.add_metric(key, each.training_rows)
        for name, value in _numbers(each):
            if not name.startswith(_SKIPPED):
                metrics.add_metric([*key, name], value)
        number, run_id = (str(each.registry.version), each.registry.run_id) if each.registry else ("", "")
        info.add_metric([*key, each.name, each.verdict, number, run_id, each.revision or ""], 1.0)
    yield from (info, made, current, rows, metrics)


def _numbers(found: Release) -> Iterator[tuple[str, float]]:
    for name, value in found.metrics.items():
        if isinstance(value, float | int) and not isinstance(value, bool):
            yield name, float(value)


def _version(path: Path) -> str:
    """The project's version; empty where the service runs without its pyproject.toml."""
    if not path.is_file():
        return ""
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"])
