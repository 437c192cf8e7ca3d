"""Which tokens ended before their time, known in memory and refreshed from the database in the background."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from service.threads import BusyError, Threads
from service.users.database_url import DatabaseDownError
from service.users.revisions import UserRevisions
from service.users.rules import AccountError

POLL_SECONDS = 2.0
"""How often each worker asks; a change is known everywhere after this and one query."""
ANSWER_SECONDS = 2.5
"""How long one query may take; with the pause before it, a database that is stuck is told as down within 5 s."""
POLLS_PER_WRITE = 5
"""A write is tried at every so many polls."""
PREPARE_SECONDS = 10.0
"""How long the start waits for migrations; they go on beyond that, and the database counts as down until then."""

_log = logging.getLogger(__name__)


class Revocations:
    """What this worker knows of the users: the newest revision, and that of each who isn't disabled.

    No clock decides: a token names the revision it was given under, so that neither clocks that differ nor
    one that jumps ends a token or keeps it alive.
    """

    def __init__(self) -> None:
        self._newest: int | None = None
        self._void = -1
        self._current: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []

    @property
    def known(self) -> bool:
        """Whether the database was read since the start."""
        return self._newest is not None

    @property
    def newest(self) -> int:
        """The newest revision of any user, -1 before the first refresh."""
        return -1 if self._newest is None else self._newest

    def allow(self, username: str, revision: int) -> bool:
        """Whether tokens of that user and revision count.

        One newer than this worker's knowledge does, since only a login can have made it; the next refresh
        looks at it again. Not so those from before a backup was restored, whose revisions the database
        has not reached again.
        """
        return revision > max(self.newest, self._void) or self._current.get(username) == revision

    def update(self, newest: int, current: dict[str, int]) -> None:
        """Take over what the database says, and tell those who remembered tokens."""
        if newest < self.newest:
            self._void = max(self._void, self.newest)
        self._newest, self._current = newest, current
        for listener in self._listeners:
            listener()

    def on_update(self, listener: Callable[[], None]) -> None:
        """Call the function after each update."""
        self._listeners.append(listener)


class Watch:
    """Keeps Revocations up to date, and knows whether the database answers.

    The tables are brought up to date, and the first admin added, as soon as the database answers for the
    first time: a service that starts before its database heals by itself.
    """

    def __init__(self, revisions: UserRevisions, revocations: Revocations, prepare: Callable[[], object]) -> None:
        self._revisions = revisions
        self._revocations = revocations
        self._prepare = prepare
        self._prepared = False
        self._threads = Threads("revocations", count=1, waiting=0)
        self.failure: str | None = "not asked yet"
        """Why the database is down; None while it answers."""
        self.write_failure: str | None = None
        """Why the database takes no writes; None while it does."""
        self._polls = 0

    @property
    def database_is_up(self) -> bool:
        """Whether the database answered when it was last asked."""
        return self.failure is None

    async def refresh(self) -> None:
        """Ask once; a failure is kept, not raised. AccountError says that the first admin breaks a rule."""
        try:
            if not self._prepared:
                await self._threads.run(self._prepare, PREPARE_SECONDS)
                self._prepared = True
            ask = partial(self._revisions.changes, self._revocations.newest)
            changes = await self._threads.run(ask, ANSWER_SECONDS)
        except (DatabaseDownError, TimeoutError, BusyError) as error:
            self._fail(str(error) or "no answer")
            return
        if changes is not None:
            self._revocations.update(*changes)
        if self.failure is not None:
            self.failure = None
            _log.info("the users database answers")
        if self._polls % POLLS_PER_WRITE == 0:
            await self._check_writes()
        self._polls += 1

    async def _check_writes(self) -> None:
        failure = None
        try:
            await self._threads.run(self._revisions.check_writes, ANSWER_SECONDS)
        except (DatabaseDownError, TimeoutError, BusyError) as error:
            failure = str(error) or "no answer"
        if failure and failure != self.write_failure:
            _log.warning("the users database takes no writes, users and feedback cannot change: %s", failure)
        elif self.write_failure and not failure:
            _log.info("the users database takes writes again")
        self.write_failure = failure

    async def run(self) -> None:
        """Refresh until cancelled, whatever happens."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
            except AccountError as error:
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001  # told in full; a watch that ended would let ended tokens live on
                self._fail(f"{type(error).__name__}: {error}", error)

    def close(self) -> None:
        """End the thread, and close its connection."""
        self._threads.close()
        self._revisions.close()

    def _fail(self, reason: str, error: Exception | None = None) -> None:
        if self.failure != reason:
            self.failure = reason
            text = "the users database is down, tokens are judged by what was known: %s"
            _log.warning(text, reason, exc_info=error)
