"""Takes a new artifact into service while the old one answers.

The files are looked at once a second. They change one after another, in an order that
differs between `dvc checkout`, `dvc pull` and `dvc repro`, so files that do not agree are
given a while before they count as bad.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from service.model import ArtifactError
from service.scoring import artifact, memory
from service.scoring.artifact import Artifact, ArtifactPendingError
from service.scoring.serving import Serving
from service.settings import Settings

GRACE_SECONDS: Final = 2.5
"""How long files may disagree, unchanged, before they are refused."""

_log = logging.getLogger(__name__)

Fingerprint = tuple[tuple[int, ...] | None, ...]


def _ignore(*_: object) -> None:
    pass


class Watch:
    """Watches the artifact's files for one worker.

    Parameters
    ----------
    reloaded
        Told of each artifact that went into service.
    refused
        Told once of each state of the files that is refused; the old artifact serves on.
        Not told while the pipeline is half way: then the files are only unfinished.
    agreed
        Told when the files are those of what is served, after a refusal too.
    """

    def __init__(
        self,
        settings: Settings,
        serving: Serving,
        *,
        reloaded: Callable[[Artifact], None] = _ignore,
        refused: Callable[[ArtifactError], None] = _ignore,
        agreed: Callable[[], None] = _ignore,
    ) -> None:
        self._settings = settings
        self._serving = serving
        self._reloaded = reloaded
        self._refused = refused
        self._agreed = agreed
        self._handled: Fingerprint = ()  # looked at once more: the files may have changed since the load at the start
        self._tried: Fingerprint = ()
        self._error: ArtifactError | None = None
        self._since = 0.0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._settings.reload_seconds)

    async def look(self) -> None:
        """Look once; load, warm up and swap in a thread, so that requests are answered meanwhile."""
        fingerprint = self._fingerprint()
        if fingerprint == self._handled:
            return
        now = asyncio.get_running_loop().time()
        if fingerprint == self._tried and self._error is not None:
            if now - self._since >= GRACE_SECONDS:
                self._handled = fingerprint
                self._refuse(self._error)
            return
        self._tried, self._since = fingerprint, now
        try:
            await asyncio.to_thread(self._take_over)
        except ArtifactError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  # whatever it is, the old model serves on
            # Not hidden, but no reason to stop watching either: a full disk keeps counters from growing.
            _log.exception("model %s could not be taken into service", self._settings.model_path)
            self._error = ArtifactError(f"{self._settings.model_path}: could not be taken into service: {error!r}")
        else:
            self._error, self._handled = None, fingerprint
            self._serving.let_go()
            memory.give_back()
            self._agreed()

    def _take_over(self) -> None:
        current = self._serving.current.artifact
        new = artifact.load(self._settings, current.model)
        if new == current:
            return
        self._serving.swap(new)
        if new.version == current.version:
            _log.info("model %s is in service with what dvc.lock and the metrics now say of it", new.version)
        else:
            _log.info("model %s is in service instead of %s", new.version, current.version)
        self._reloaded(new)

    def _refuse(self, error: ArtifactError) -> None:
        version = self._serving.current.artifact.version
        if isinstance(error, ArtifactPendingError):
            _log.info("model %s serves on; %s", version, error)
            return
        _log.error("model %s serves on; %s", version, error)
        self._refused(error)

    def _fingerprint(self) -> Fingerprint:
        settings = self._settings
        return tuple(map(_stat, (settings.lock_path, settings.model_path, settings.metrics_path)))


def _stat(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
