"""What each worker knows of users and keys, as it reads it at its start and every two seconds."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import insert, select, update

from service.users.database import API_KEYS, FEEDBACK, REVISION, USERS, Database


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key by its digest."""

    name: str
    scopes: frozenset[str]
    expiry: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Users and keys at one moment.

    No clock decides whether a user's token ended: it carries the revision it was issued under, so clocks that
    differ or jump neither end a token nor keep it alive.
    """

    revision: int
    """The newest one of any user or key; -1 before the database was read."""
    users: dict[str, int]
    """The revision of each user who isn't disabled."""
    keys: dict[str, KnownKey] = field(default_factory=dict)
    """The keys by their digests."""
    void: int = -1
    """The newest revision from before a backup was restored, which the database has not reached again."""

    def allows(self, username: str, revision: int) -> bool:
        """Return whether the user's tokens of that revision count.

        A revision newer than this worker's knowledge does, since only a login can have made it; the next
        snapshot looks at it again.
        """
        return revision > max(self.revision, self.void) or self.users.get(username) == revision

    def after(self, before: "Snapshot") -> "Snapshot":
        """Return this snapshot as the next one of a worker: if it is older, revisions in between are void."""
        went_back = self.revision < before.revision
        return replace(self, void=max(before.void, before.revision if went_back else -1))


def read_snapshot(database: Database, since: int) -> Snapshot | None:
    """Read users and keys; None if the newest revision is still `since`. Raises DatabaseDownError."""
    with database.reading() as connection:
        newest = connection.scalar(select(REVISION.c.value))
        connection.scalar(select(USERS.c.username).limit(1))  # a missing table is reported now, not at the next login
        if newest is None or newest == since:
            return None
        users = connection.execute(select(USERS.c.username, USERS.c.revision).where(USERS.c.disabled.is_(False)))
        keys = connection.execute(select(API_KEYS))
        return Snapshot(
            newest,
            {row.username: row.revision for row in users},
            {row.digest: KnownKey(row.name, frozenset(row.scopes.split()), _seconds(row.expires_at)) for row in keys},
        )


def check_writes(database: Database) -> None:
    """Write to both tables that change and roll back.

    Raises DatabaseDownError if that fails: the disk is full or read-only, or a table is missing.
    """
    now = datetime.now(UTC)
    times = {"predicted_at": now, "received_at": now}
    with database.reading() as connection:
        connection.execute(update(REVISION).values(value=REVISION.c.value + 1))  # SQLite skips unchanged values
        connection.execute(insert(FEEDBACK).values(id="write check", version="", predicted="", actual="", **times))
        connection.rollback()


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else float("inf")
