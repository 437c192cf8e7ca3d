"""The copy of users and keys that each worker reads at its start and every two seconds."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import insert, select, update

from service.users.database import API_KEYS, FEEDBACK, REVISION, USERS, Database


@dataclass(frozen=True, slots=True)
class KnownKey:
    """An API key."""

    name: str
    scopes: frozenset[str]
    expiry: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Users and keys at one time.

    A user's token contains the user's revision at its issue, and is revoked if the user now has another one.
    Revisions are compared instead of times, so revocation doesn't depend on clocks.
    """

    revision: int
    """The newest revision of all users and keys; -1 before the first read of the database."""
    users: dict[str, int]
    """The revision of each user who isn't disabled."""
    keys: dict[str, KnownKey] = field(default_factory=dict)
    """The keys, by digest."""
    void: int = -1
    """After a backup was restored: the newest revision before that; otherwise -1."""

    def allows(self, username: str, revision: int) -> bool:
        """Return whether a token of this user with this revision is valid.

        A revision newer than this snapshot is valid: the token was issued after a change that this worker
        hasn't read yet. The next snapshot decides.
        """
        return revision > max(self.revision, self.void) or self.users.get(username) == revision

    def after(self, before: "Snapshot") -> "Snapshot":
        """Return this snapshot as the successor of `before`. If it is older, a backup was restored: set `void`."""
        went_back = self.revision < before.revision
        return replace(self, void=max(before.void, before.revision if went_back else -1))


def read_snapshot(database: Database, since: int) -> Snapshot | None:
    """Read users and keys; return None if the newest revision is still `since`. Raises DatabaseDownError."""
    with database.reading() as connection:
        newest = connection.scalar(select(REVISION.c.value))
        connection.scalar(select(USERS.c.username).limit(1))  # report a missing table now, not at the next login
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
    """Write to the revision and feedback tables, and roll back.

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
