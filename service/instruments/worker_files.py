"""Add up the instruments of several worker processes with prometheus_client's multiprocess mode.

Each worker counts in files, and the worker that answers GET /metrics reads them all. By default a file is named by
the process id, so each restart leaves files behind. Here it is named by the worker's number: the replacement of a dead
worker gets the same number and continues its counts. Each version of the model has its own files, which are deleted
with the version.
"""

import fcntl
import os
import struct
import warnings
from collections.abc import Collection, Iterable
from itertools import count
from pathlib import Path
from typing import Any, Final

from prometheus_client import Metric, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

_FILE_BYTES: Final = 256 * 1024
"""Size of a new file. It is written in full, so a full disk is an error now and no fatal signal later."""

# `keep_versions` removes the files of removed labels.
warnings.filterwarnings("ignore", "Removal of labels has not been implemented")


class WorkerFiles(Collector):
    """The files of this worker, which gets the lowest number that no living worker has.

    Create it before any instrument. Raises OSError if the folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        self.number, self.is_replacement = next(found for number in count() if (found := _claim(folder, number)))
        mark_process_dead(self.number, str(folder))
        self._classes: dict[str, Any] = {}
        values.ValueClass = self._make_value  # prometheus_client stores each number in one

    def _make_value(self, kind: str, metric: str, name: str, labels: Any, texts: Any, *rest: Any, **more: Any) -> Any:
        version = dict(zip(labels, texts, strict=True)).get("version", "")
        identifier = f"{self.number}.{version}" if version else str(self.number)
        path = self._folder / f"{'_'.join([kind, *more.values()])}_{identifier}.db"
        if not path.exists():
            path.write_bytes(bytes(_FILE_BYTES))
        if version not in self._classes:
            self._classes[version] = values.MultiProcessValue(lambda: identifier)
        return self._classes[version](kind, metric, name, labels, texts, *rest, **more)

    def keep_versions(self, versions: Collection[str]) -> None:
        """Remove all workers' counts for other versions."""
        for path in self._folder.glob("*.*.db"):
            if path.name.split(".")[1] not in versions:
                path.unlink(missing_ok=True)
        self._classes = {version: each for version, each in self._classes.items() if version in {"", *versions}}

    def collect(self) -> Iterable[Metric]:
        """Return the sums of all workers' metrics."""
        while True:
            try:
                return list(MultiProcessCollector.merge([str(path) for path in self._folder.glob("*.db")]))
            except (FileNotFoundError, struct.error):  # a file is just being deleted or created
                continue


def _claim(folder: Path, number: int) -> tuple[int, bool] | None:
    """Lock a worker's number until this process ends. Return it and whether a dead worker had it, or None."""
    path = folder / f"{number}.worker"
    is_replacement = path.exists()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return number, is_replacement
