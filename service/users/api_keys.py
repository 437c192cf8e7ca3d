"""API keys: long-lived credentials of programs. The database has only their digests."""

import builtins
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import select, update

from service.users.accounts import next_revision
from service.users.database import ApiKey, Database
from service.users.rules import AccountError, check_scopes, normalise

PREFIX: Final = "key_"
"""The beginning of every key, by which people and scanners for leaked secrets recognise it."""


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
        key = ApiKey(normalise(name), digest(text), check_scopes(scopes), now, expires_at)
        with self._database.writing() as session:
            next_revision(session)
            if session.get(ApiKey, key.name):
                raise AccountError(f"key {key.name!r} exists already; choose another name, or revoke it first")
            session.add(key)
        return text, key

    def list(self) -> builtins.list[ApiKey]:
        """Return every key, in the order of names."""
        with self._database.reading() as session:
            return [*session.scalars(select(ApiKey).order_by(ApiKey.name))]

    def revoke(self, name: str) -> None:
        """Delete a key; workers refuse it within 5 s. Raises AccountError if there is no such key."""
        with self._database.writing() as session:
            next_revision(session)
            key = session.get(ApiKey, normalise(name))
            if key is None:
                raise AccountError(f"there is no key {name!r}")
            session.delete(key)

    def record_use(self, names: Iterable[str]) -> None:
        """Store the current time as the last use of these keys."""
        with self._database.writing() as session:
            session.execute(update(ApiKey).where(ApiKey.name.in_(names)).values(last_used_at=datetime.now(UTC)))


def digest(text: str) -> str:
    """Return the SHA-256 of a key in hexadecimal. A key has 256 random bits, so a fast hash is safe."""
    return sha256(text.encode()).hexdigest()
