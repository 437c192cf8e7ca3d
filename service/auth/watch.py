"""Users and keys in memory, refreshed from the database in the background, and whether it answers."""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

from service.threads import BusyError, Threads
from service.users.api_keys import ApiKeys
from service.users.database import Database, DatabaseDownError
from service.users.rules import AccountError
from service.users.snapshot import Snapshot, check_writes, read_snapshot

POLL_SECONDS = 2.0
"""How often each worker asks; it knows of a change after this and one query."""
ANSWER_SECONDS: Final = 2.5
"""How long one query may take; with the pause before it, a stuck database counts as down within 5 s."""
EARLY_SECONDS = 0.5
"""How soon after the last query an unknown key causes another one."""
POLLS_PER_WRITE: Final = 5
"""A write is tried at every so many polls."""
PREPARE_SECONDS: Final = 10.0
"""How long the start waits for migrations; they go on beyond that, and the database counts as down until then."""

_log = logging.getLogger(__name__)


class Watch:
    """Keeps a worker's snapshot up to date, and knows whether the database answers.

    When the database answers for the first time, `prepare` migrates it and adds the first admin: a service
    that starts before its database heals by itself.
    """

    def __init__(self, database: Database, prepare: Callable[[], object]) -> None:
        self._database = database
        self._prepare = prepare
        self.known = Snapshot(-1, {})
        """What this worker knows of users and keys."""
        self.used_keys: set[str] = set()
        """Names of the keys used since that was last written down."""
        self._prepared = False
        self._threads = Threads(count=1, waiting=0)
        self._turn = asyncio.Lock()
        self._asked = float("-inf")
        self.failure: str | None = "not asked yet"
        """Why the database is down; None while it answers."""
        self.write_failure: str | None = None
        """Why the database takes no writes; None while it does."""
        self._polls = 0

    async def refresh_early(self) -> None:
        """Refresh for a key that may be new; all who wait for that share one query every half second."""
        now = monotonic()
        await asyncio.sleep(self._asked + EARLY_SECONDS - now)
        await self.refresh(now)

    async def refresh(self, since: float = float("inf")) -> None:
        """Query the database, unless that was done `since` a moment of the monotonic clock.

        A failure is kept, not raised. Raises AccountError if the first admin breaks a rule.
        """
        async with self._turn:
            if self._asked > since:
                return
            self._asked = monotonic()
            try:
                await self._query()
            except (DatabaseDownError, TimeoutError, BusyError) as error:
                self._fail(str(error) or "no answer")

    async def run(self) -> None:
        """Refresh until cancelled, whatever happens."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
            except AccountError as error:
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001  # logged in full; if the watch ended, revoked tokens would live on
                self._fail(f"{type(error).__name__}: {error}", error)

    async def close(self) -> None:
        """Let a query under way end."""
        await self._threads.close()

    async def record_use(self) -> None:
        """Write down which keys were used. Raises as `check_writes`."""
        names, self.used_keys = self.used_keys, set()
        if names:
            await self._threads.run(lambda: ApiKeys(self._database).record_use(names), ANSWER_SECONDS)

    async def _query(self) -> None:
        if not self._prepared:
            await self._threads.run(self._prepare, PREPARE_SECONDS)
            self._prepared = True
        since = self.known.revision
        snapshot = await self._threads.run(lambda: read_snapshot(self._database, since), ANSWER_SECONDS)
        if snapshot is not None:
            self.known = snapshot.after(self.known)
        if self.failure is not None:
            self.failure = None
            _log.info("the users database answers")
        if self._polls % POLLS_PER_WRITE == 0:
            await self._check_writes()
        self._polls += 1

    async def _check_writes(self) -> None:
        failure = None
        try:
            await self._threads.run(lambda: check_writes(self._database), ANSWER_SECONDS)
            await self.record_use()
        except (DatabaseDownError, TimeoutError, BusyError) as error:
            failure = str(error) or "no answer"
        if failure and failure != self.write_failure:
            _log.warning("the users database takes no writes, users and feedback cannot change: %s", failure)
        elif self.write_failure and not failure:
            _log.info("the users database takes writes again")
        self.write_failure = failure

    def _fail(self, reason: str, error: Exception | None = None) -> None:
        if self.failure != reason:
            self.failure = reason
            text = "the users database is down, tokens are checked by what was known: %s"
            _log.warning(text, reason, exc_info=error)
