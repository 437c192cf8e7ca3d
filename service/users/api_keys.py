"""API keys: long-lived credentials of programs. The database has only their digests."""

import builtins
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import delete, insert, select, update

from service.users.accounts import next_revision
from service.users.database import API_KEYS, Database
from service.users.rules import AccountError, check_scopes, normalise

PREFIX: Final = "key_"
"""The beginning of every key, by which people and scanners for leaked secrets recognise it."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What the database has of a key, without the digest."""

    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiKeys:
    """Manages keys. Every method may wait for the database, and raises DatabaseDownError if it doesn't answer.

    A change stores a new revision, by which each worker notices it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, scopes: Iterable[str], lifetime: timedelta | None) -> tuple[str, ApiKey]:
        """Add a key; return its text, which isn't stored, and its properties. A `lifetime` of None means no expiry.

        Raises AccountError for a name or scopes that break a rule, or if the name is taken.
        """
        text = PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        try:
            expires_at = now + lifetime if lifetime else None
        except OverflowError:
            raise AccountError("the key would expire after the year 9999; choose an earlier expiry") from None
        stored = check_scopes(scopes)
        key = ApiKey(normalise(name), frozenset(stored.split()), now, expires_at, None)
        with self._database.writing() as connection:
            next_revision(connection)
            if connection.scalar(select(API_KEYS.c.name).where(API_KEYS.c.name == key.name)):
                raise AccountError(f"key {key.name!r} exists already; choose another name, or revoke it first")
            values = {"name": key.name, "scopes": stored, "created_at": now, "expires_at": expires_at}
            connection.execute(insert(API_KEYS).values(digest=digest(text), **values))
        return text, key

    def list(self) -> builtins.list[ApiKey]:
        """Return every key, in the order of names."""
        with self._database.reading() as connection:
            return [
                ApiKey(row.name, frozenset(row.scopes.split()), row.created_at, row.expires_at, row.last_used_at)
                for row in connection.execute(select(API_KEYS).order_by(API_KEYS.c.name))
            ]

    def revoke(self, name: str) -> None:
        """Delete a key; workers refuse it within 5 s. Raises AccountError if there is no such key."""
        with self._database.writing() as connection:
            next_revision(connection)
            if not connection.execute(delete(API_KEYS).where(API_KEYS.c.name == normalise(name))).rowcount:
                raise AccountError(f"there is no key {name!r}")

    def record_use(self, names: Iterable[str]) -> None:
        """Store the current time as the last use of these keys."""
        with self._database.writing() as connection:
            connection.execute(
                update(API_KEYS).where(API_KEYS.c.name.in_([*names])).values(last_used_at=datetime.now(UTC))
            )


def digest(text: str) -> str:
    """Return the SHA-256 of a key in hexadecimal. A key has 256 random bits, so a fast hash is safe."""
    return sha256(text.encode()).hexdigest()
