"""Keep users and keys in memory, refresh them from the database, and notice if it is down."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from sqlalchemy import insert, select, update

from service.threads import BusyError, Threads
from service.users.accounts import ApiKeys
from service.users.database import FEEDBACK, REVISION, Account, ApiKey, Change, Database, DatabaseDownError
from service.users.rules import AccountError

POLL_SECONDS = 2.0
"""How often each worker queries the database; it notices a change after this time plus one query."""
ANSWER_SECONDS: Final = 2.5
"""How long one query may take; with the pause before it, a stuck database counts as down within 5 s."""
EARLY_SECONDS = 0.5
"""Shortest time between two queries because of unknown API keys."""
POLLS_PER_WRITE: Final = 5
"""Every fifth poll also tests whether the database accepts writes."""
PREPARE_SECONDS: Final = 10.0
"""How long the start waits for migrations. Slower ones continue, and the database counts as down until they end."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Users and keys at one time. Each worker reads them at its start, then every two seconds what has changed.

    A user's token contains the user's revision at its issue, and is revoked if the user now has another one.
    Revisions are compared instead of times, so revocation doesn't depend on clocks.
    """

    revision: int = -1
    """The newest revision of all users and keys; -1 before the first read of the database."""
    users: AbstractSet[int] = frozenset()
    """The revisions of the users who aren't disabled. Each change has its own revision, so names aren't needed."""
    keys: Mapping[str, ApiKey] = field(default_factory=dict)
    """The keys, by digest."""
    void: int = -1
    """After a backup was restored: the newest revision before that; otherwise -1."""

    def allows(self, revision: int) -> bool:
        """Return whether a token with this revision is valid.

        A revision newer than this snapshot is valid: the token was issued after a change that this worker
        hasn't read yet. The next snapshot decides.
        """
        return revision > max(self.revision, self.void) or revision in self.users


UNREAD: Final = Snapshot()


def read_snapshot(database: Database, known: Snapshot = UNREAD) -> Snapshot | None:
    """Read what has changed since `known`; return None if nothing has. Raises DatabaseDownError.

    Each change names the one before it. If the changes don't lead from `known` to the newest revision, everything is
    read: at the start, a day after the last successful read, after a backup was restored, and after a version
    without the table `changes` changed something.
    """
    with database.reading() as session:
        newest = session.scalar(select(REVISION.c.value))
        session.scalar(select(Account.username).limit(1))  # report a missing table now, not at the next login
        if newest is None or newest == known.revision:
            return None
        is_new = Change.revision > known.revision, Change.revision <= newest
        changes = session.scalars(select(Change).where(*is_new).order_by(Change.revision)).all()
        read_keys = select(ApiKey)
        if [known.revision, *(each.revision for each in changes)] == [*(each.previous for each in changes), newest]:
            read_keys = read_keys.where(ApiKey.digest.in_(select(Change.digest).where(*is_new)))
        else:
            restored = known.revision if newest < known.revision else -1
            changes, known = [], Snapshot(void=max(known.void, restored))
        read_users = select(Account.revision).where(Account.revision > known.revision, Account.disabled.is_(False))
        users, keys = set(known.users), dict(known.keys)
        users.difference_update(each.revoked for each in changes)
        users.update(session.scalars(read_users))
        for digest in (each.digest for each in changes if each.digest):
            keys.pop(digest, None)
        keys.update((key.digest, key) for key in session.scalars(read_keys))
        return Snapshot(newest, users, keys, known.void)


def check_writes(database: Database) -> None:
    """Write to the revision and feedback tables, and roll back.

    Raises DatabaseDownError if that fails: the disk is full or read-only, or a table is missing.
    """
    now = datetime.now(UTC)
    times = {"predicted_at": now, "received_at": now}
    with database.reading() as session:
        session.execute(update(REVISION).values(value=REVISION.c.value + 1))  # SQLite skips unchanged values
        session.execute(insert(FEEDBACK).values(id="write check", version="", predicted="", actual="", **times))
        session.rollback()


class Watch:
    """Keeps a worker's snapshot up to date, and knows whether the database answers.

    When the database answers for the first time, `prepare` migrates it and adds the first admin, so the service
    may start before its database.
    """

    def __init__(self, database: Database, prepare: Callable[[], object]) -> None:
        self._database = database
        self._prepare = prepare
        self.known = UNREAD
        """The newest snapshot that this worker has read."""
        self.used_keys: set[str] = set()
        """Names of the keys used since `record_use` last stored them."""
        self._prepared = False
        self.threads = Threads(count=1, waiting=0)
        self._turn = asyncio.Lock()
        self._asked = float("-inf")
        self.failure: str | None = "not reached yet"
        """Why the database is down; None if it answered the last time."""
        self.write_failure: str | None = None
        """Why the database refuses writes; None if it accepts them."""
        self._polls = 0

    async def refresh_early(self) -> None:
        """Refresh because a key may be new. All requests that wait for this share one query every half second."""
        now = monotonic()
        await asyncio.sleep(self._asked + EARLY_SECONDS - now)
        await self.refresh(now)

    async def refresh(self, since: float = float("inf")) -> None:
        """Query the database, unless the last query began after `since`, a time of the monotonic clock.

        Store errors of the database in `failure`. Raises AccountError if the first admin's name or password breaks
        a rule.
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
        """Refresh every POLL_SECONDS until cancelled, whatever error occurs."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
            except AccountError as error:
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001  # logged with its traceback; revocation depends on this loop
                self._fail(f"{type(error).__name__}: {error}", error)

    async def record_use(self, threads: Threads) -> None:
        """Store when the keys in `used_keys` were last used. Raises DatabaseDownError, TimeoutError or BusyError."""
        names, self.used_keys = self.used_keys, set()
        if names:
            await threads.run(lambda: ApiKeys(self._database).record_use(names), ANSWER_SECONDS)

    async def _query(self) -> None:
        if not self._prepared:
            await self.threads.run(self._prepare, PREPARE_SECONDS)
            self._prepared = True
        known = self.known
        snapshot = await self.threads.run(lambda: read_snapshot(self._database, known), ANSWER_SECONDS)
        self.known = snapshot or known
        if self.failure is not None:
            self.failure = None
            _log.info("the users database answers")
        if self._polls % POLLS_PER_WRITE == 0:
            await self._check_writes()
        self._polls += 1

    async def _check_writes(self) -> None:
        failure = None
        try:
            await self.threads.run(lambda: check_writes(self._database), ANSWER_SECONDS)
            await self.record_use(self.threads)
        except (DatabaseDownError, TimeoutError, BusyError) as error:
            failure = str(error) or "no answer"
        if failure and failure != self.write_failure:
            _log.warning("the users database refuses writes, so users and feedback can't change: %s", failure)
        elif self.write_failure and not failure:
            _log.info("the users database accepts writes again")
        self.write_failure = failure

    def _fail(self, reason: str, error: Exception | None = None) -> None:
        if self.failure != reason:
            self.failure = reason
            text = "the users database is down; tokens are checked with the last known users and keys: %s"
            _log.warning(text, reason, exc_info=error)
