"""What /metrics tells beside what is counted: the build, and the artifact in service."""

import contextlib
import platform
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.counting.counters import Block, Counters
from service.counting.families import Family
from service.model import RUNTIME_VERSION
from service.scoring import registered
from service.settings import ROOT, Settings

if TYPE_CHECKING:
    from service.scoring.serving import Serving

IN_PROGRESS: Final = Family("http_requests_in_progress", "Requests begun and not yet answered.", kind="gauge")


class InProgress:
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
        self._settings = settings
        self._serving = serving
        self._build = {
            "version": _version(ROOT / "pyproject.toml"),
            "python": platform.python_version(),
            "onnxruntime": RUNTIME_VERSION,
        }
        self._dated = "", 0.0

    def describe(self) -> list[Metric]:
        """Name nothing beforehand, so that registering reads no file."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        artifact = self._serving.current.artifact
        build = GaugeMetricFamily("service_build_info", "What answers.", labels=list(self._build))
        build.add_metric(list(self._build.values()), 1.0)
        yield build
        written = GaugeMetricFamily(
            "model_timestamp_seconds",
            "When the model in service was first registered (source registry) or, where the registry's file does not "
            "name it, when its file was written here (source file); seconds since 1970.",
            labels=["version", "source"],
        )
        found = registered.read(self._settings.registry_path)
        entries = registered.entries(found, artifact.version)
        # A file's time is that of a checkout or a copy as well, and the age of an old model then looks young.
        if entries:
            written.add_metric([artifact.version, "registry"], entries[0]["created"])
        elif seconds := self._timestamp(artifact.version):
            written.add_metric([artifact.version, "file"], seconds)
        yield written
        accepted = GaugeMetricFamily(
            "model_accepted_metric", "What evaluation measured on the test rows.", labels=["version", "metric"]
        )
        for name, value in artifact.metrics.items():
            if isinstance(value, float | int) and not isinstance(value, bool):
                accepted.add_metric([artifact.version, name], float(value))
        yield accepted
        yield from found

    def _timestamp(self, version: str) -> float:
        """The file's time, looked at once for each version: a newer file may be a refused one; 0 if it is gone."""
        if self._dated[0] != version:
            with contextlib.suppress(OSError):
                self._dated = version, self._settings.model_path.stat().st_mtime
                return self._dated[1]
            return 0.0
        return self._dated[1]


def _version(path: Path) -> str:
    """The project's version; empty where the service runs without its pyproject.toml."""
    if not path.is_file():
        return ""
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"])
