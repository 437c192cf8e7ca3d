"""API keys: long-lived credentials of programs, stored as digests."""

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
"""What every key begins with, so that people and scanners for leaked secrets recognise one."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its text."""

    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiKeys:
    """The keys; every method may wait for the database and raises DatabaseDownError if it doesn't answer.

    A change draws a new revision, by which each worker notices it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, scopes: Iterable[str], lifetime: timedelta | None) -> tuple[str, ApiKey]:
        """Add a key; return its text, which is stored nowhere, and what is known of it."""
        text = PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        try:
            expires_at = now + lifetime if lifetime else None
        except OverflowError:
            raise AccountError("the key would outlive the calendar; choose an earlier expiry") from None
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
        """Return every key, by name."""
        with self._database.reading() as connection:
            return [
                ApiKey(row.name, frozenset(row.scopes.split()), row.created_at, row.expires_at, row.last_used_at)
                for row in connection.execute(select(API_KEYS).order_by(API_KEYS.c.name))
            ]

    def revoke(self, name: str) -> None:
        """Delete a key; workers refuse it as soon as they notice."""
        with self._database.writing() as connection:
            next_revision(connection)
            if not connection.execute(delete(API_KEYS).where(API_KEYS.c.name == normalise(name))).rowcount:
                raise AccountError(f"there is no key {name!r}")

    def record_use(self, names: Iterable[str]) -> None:
        """Set when these keys were last used to now."""
        with self._database.writing() as connection:
            connection.execute(
                update(API_KEYS).where(API_KEYS.c.name.in_([*names])).values(last_used_at=datetime.now(UTC))
            )


def digest(text: str) -> str:
    """Return what is stored of a key. It has 256 random bits, so a plain hash can't be guessed back."""
    return sha256(text.encode()).hexdigest()
