"""Put a new release into service while the old one answers requests.

Once a second, each worker checks the link `current` and the two files of its release. A release becomes current in
one step, so one that can't be loaded is refused at once.
"""

import asyncio
import logging
from pathlib import Path

from service import memory, release
from service.instruments.registry import Instruments
from service.model import ArtifactError
from service.release import MODEL_FILE, RELEASE_FILE, ReleaseError
from service.scoring import artifact
from service.scoring.serving import Serving
from service.settings import Settings

_log = logging.getLogger(__name__)

Fingerprint = tuple[object, ...]


class Reloader:
    """Keeps the current release in service in one worker."""

    def __init__(self, settings: Settings, serving: Serving, instruments: Instruments) -> None:
        self._settings = settings
        self._serving = serving
        self._instruments = instruments
        self._handled: Fingerprint = ()  # the first check loads: the release may have changed since startup

    async def run(self) -> None:
        """Check once in every `reload_seconds` until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self._settings.reload_seconds)

    async def check(self) -> None:
        """Check once; load, warm up and swap in a thread, so the event loop answers requests meanwhile."""
        fingerprint = _fingerprint(self._settings.releases)
        if fingerprint == self._handled:
            return
        self._handled = fingerprint
        try:
            await asyncio.to_thread(self._take_over)
        except (ArtifactError, ReleaseError) as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001  # the old model stays in service
            # It is logged in full. Checks continue, because the reason can go away: a full disk, for example.
            _log.exception("the release in %s couldn't be put into service", self._settings.releases)
            self._refuse(f"{self._settings.releases}: couldn't be put into service: {error!r}")
        else:
            memory.return_free_memory()
            self._instruments.set_refused(is_refused=False)

    def _take_over(self) -> None:
        current = self._serving.current.artifact
        new = artifact.load(self._settings, current.model)
        if new == current:
            return
        self._serving.swap(new)
        _log.info(
            "release %s (model %s) is in service instead of %s (model %s)",
            new.folder, new.model.version, current.folder, current.model.version,
        )  # fmt: skip
        self._instruments.count_reload("reloaded")

    def _refuse(self, reason: object) -> None:
        current = self._serving.current.artifact
        _log.error("release %s (model %s) stays in service; %s", current.folder, current.model.version, reason)
        self._instruments.count_reload("refused")


def _fingerprint(releases: Path) -> Fingerprint:
    """Return a value that changes when another release becomes current, or when its files change."""
    try:
        folder = release.find_current(releases)
        files = [(folder / name).stat() for name in (RELEASE_FILE, MODEL_FILE)]
    except (OSError, ReleaseError) as error:
        return (str(error),)
    return folder, *((file.st_mtime_ns, file.st_ctime_ns, file.st_size, file.st_ino) for file in files)
