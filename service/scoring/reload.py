"""Takes a new release into service while the old one answers.

The link `current` and the two files that it leads to are looked at once a second. A release
becomes current in one step, so a release that cannot be loaded is refused at once.
"""

import asyncio
import logging
from pathlib import Path

from service import release
from service.instruments.events import EventInstruments
from service.model import ArtifactError
from service.release import MODEL_FILE, RELEASE_FILE, ReleaseError
from service.scoring import artifact, memory
from service.scoring.serving import Serving
from service.settings import Settings

_log = logging.getLogger(__name__)

Fingerprint = tuple[object, ...]


class Reloader:
    """Keeps one worker on the current release."""

    def __init__(self, settings: Settings, serving: Serving, events: EventInstruments) -> None:
        self._settings = settings
        self._serving = serving
        self._events = events
        self._handled: Fingerprint = ()  # looked at once more: another release may be current since the start

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._settings.reload_seconds)

    async def look(self) -> None:
        """Look once; load, warm up and swap in a thread, so that requests are answered meanwhile."""
        fingerprint = _fingerprint(self._settings.releases)
        if fingerprint == self._handled:
            return
        self._handled = fingerprint
        try:
            await asyncio.to_thread(self._take_over)
        except ArtifactError as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the old model serves on
            # Not hidden, but no reason to stop watching either: a full disk keeps counters from growing.
            _log.exception("the release in %s could not be taken into service", self._settings.releases)
            self._refuse(ArtifactError(f"{self._settings.releases}: could not be taken into service: {error!r}"))
        else:
            memory.return_free_memory()
            self._events.set_refused(is_refused=False)

    def _take_over(self) -> None:
        current = self._serving.current.artifact
        new = artifact.load(self._settings, current.model)
        if new == current:
            return
        self._serving.swap(new)
        _log.info(
            "release %s (model %s) is in service instead of %s (model %s)",
            new.folder, new.version, current.folder, current.version,
        )  # fmt: skip
        self._events.count_reload("reloaded")

    def _refuse(self, error: ArtifactError) -> None:
        current = self._serving.current.artifact
        _log.error("release %s (model %s) serves on; %s", current.folder, current.version, error)
        self._events.count_reload("refused")


def _fingerprint(releases: Path) -> Fingerprint:
    """Return what changes when another release becomes current, or its files change."""
    try:
        folder = release.find_current(releases)
    except ReleaseError as error:
        return (str(error),)
    return folder, _stat(folder / RELEASE_FILE), _stat(folder / MODEL_FILE)


def _stat(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
