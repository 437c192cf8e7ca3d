"""Add, check, list, change and remove users, for the command line, the API and the first start."""

import builtins
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time_ns
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from service.users.database import REVISION, USERS, Database, DatabaseDownError, schema_version
from service.users.migrations import NEWEST
from service.users.passwords import Passwords
from service.users.rules import (
    SCOPES,
    AccountError,
    LastAdminError,
    UnknownUserError,
    UserExistsError,
    check_password,
    check_scopes,
    lookup_name,
    normalise,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """A user, without the hash of the password."""

    username: str
    scopes: frozenset[str]
    disabled: bool
    created_at: datetime
    revision: int
    """The revision that a token of this user needs to be valid."""


class Accounts:
    """Manages users. Every method may wait for the database, and raises DatabaseDownError if it doesn't answer.

    Methods that change a user raise AccountError if the change breaks a rule of `service.users.rules`.
    """

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    def prepare(self, username: str | None, password: str | None) -> bool:
        """Migrate the tables; if there is no user and a name is given, add the first admin. Return whether it did.

        Several processes may call this at the same time; only one of them makes the changes.
        Raises AccountError if the name or password breaks a rule.
        """
        if bool(username) != bool(password):
            raise AccountError("set both ADMIN_USERNAME and ADMIN_PASSWORD, or neither")
        if self._is_ready():  # this only reads, so it works if the disk is full or read-only
            return False
        with self._database.migrating() as connection:
            if not username or not password or connection.scalar(select(func.count()).select_from(USERS)):
                return False
            try:
                self._insert(connection, username, password, SCOPES)
            except AccountError as error:
                raise AccountError(f"ADMIN_USERNAME or ADMIN_PASSWORD: {error}") from None
            return True

    def migrate(self) -> None:
        """Migrate the tables."""
        with self._database.migrating():
            pass

    def check(self, username: str, password: str) -> Account | None:
        """Return the account if the password is right and the user isn't disabled.

        Unknown user, wrong password and disabled user take the same steps: one look-up, one hash.
        """
        with self._database.reading() as connection:
            user = connection.execute(select(USERS).where(USERS.c.username == lookup_name(username))).one_or_none()
        matches = self._passwords.verify(user.password_hash if user else self._passwords.decoy, password)
        if user is None or not matches or user.disabled:
            return None
        if self._passwords.is_outdated(user.password_hash):
            self._renew(user, password)
        return _account(user)

    def add(self, username: str, password: str, scopes: Iterable[str] = ("predict",)) -> Account:
        """Add a user who can get tokens with these scopes."""
        with self._database.writing() as connection:
            return self._insert(connection, username, password, scopes)

    def list(self) -> builtins.list[Account]:
        """Return every user, in the order of names."""
        with self._database.reading() as connection:
            return [_account(user) for user in connection.execute(select(USERS).order_by(USERS.c.username))]

    def disable(self, username: str, *, force: bool = False) -> None:
        """Revoke the user's tokens and issue no new ones. Disable the last admin only with `force`."""
        with self._database.writing() as connection:
            revision, user = next_revision(connection), _find(connection, username)
            _keep_an_admin(connection, user, force=force)
            _change(connection, user, disabled=True, revision=revision)

    def enable(self, username: str) -> None:
        """Let a disabled user get tokens again; earlier tokens stay revoked."""
        with self._database.writing() as connection:
            revision, user = next_revision(connection), _find(connection, username)
            if user.disabled:
                _change(connection, user, disabled=False, revision=revision)

    def set_password(self, username: str, password: str) -> None:
        """Change the password and revoke the user's tokens."""
        with self._database.writing() as connection:
            revision, user = next_revision(connection), _find(connection, username)
            check_password(password, user.username)
            _change(connection, user, password_hash=self._passwords.hash(password), revision=revision)

    def remove(self, username: str, *, force: bool = False) -> None:
        """Remove the user and revoke the tokens. Remove the last admin only with `force`."""
        with self._database.writing() as connection:
            next_revision(connection)
            user = _find(connection, username)
            _keep_an_admin(connection, user, force=force)
            connection.execute(delete(USERS).where(USERS.c.username == user.username))

    def _is_ready(self) -> bool:
        """Return whether there is nothing to migrate and no first admin to add."""
        try:
            with self._database.reading() as connection:
                return schema_version(connection) == NEWEST and bool(connection.scalar(select(USERS.c.username)))
        except DatabaseDownError:  # the migration fails for the same reason, and reports it
            return False

    def _renew(self, user: Row[Any], password: str) -> None:
        """Replace the hash by one with the current parameters, unless the password has changed meanwhile."""
        unchanged = USERS.c.username == user.username, USERS.c.password_hash == user.password_hash
        try:
            with self._database.writing() as connection:
                connection.execute(update(USERS).where(*unchanged).values(password_hash=self._passwords.hash(password)))
        except DatabaseDownError as error:  # a full disk is no reason to refuse a login
            _log.warning("the password hash of %s was not renewed: %s", user.username, error)

    def _insert(self, connection: Connection, username: str, password: str, scopes: Iterable[str]) -> Account:
        name, revision = normalise(username), next_revision(connection)
        if connection.scalar(select(USERS.c.username).where(USERS.c.username == name)):
            raise UserExistsError(f"user {name!r} exists already; choose another name, or change the password")
        check_password(password, name)
        stored, now = check_scopes(scopes), datetime.now(UTC)
        values = {"username": name, "scopes": stored, "disabled": False, "revision": revision, "created_at": now}
        connection.execute(insert(USERS).values(password_hash=self._passwords.hash(password), **values))
        return Account(name, frozenset(stored.split()), disabled=False, created_at=now, revision=revision)


def next_revision(connection: Connection) -> int:
    """Store and return a new revision. The row's lock makes every other change wait until this one is committed.

    It is at least the clock's time in microseconds, so a new database doesn't repeat the revisions of an older one
    whose tokens may still be in use.
    """
    newest = connection.scalar(select(REVISION.c.value).with_for_update()) or 0
    revision = max(newest + 1, time_ns() // 1000)
    connection.execute(update(REVISION).values(value=revision))
    return revision


def _account(user: Row[Any]) -> Account:
    return Account(user.username, frozenset(user.scopes.split()), user.disabled, user.created_at, user.revision)


def _find(connection: Connection, username: str) -> Row[Any]:
    user = connection.execute(select(USERS).where(USERS.c.username == lookup_name(username))).one_or_none()
    if user is None:
        raise UnknownUserError(f"there is no user {username!r}")
    return user


def _change(connection: Connection, user: Row[Any], **values: Any) -> None:
    connection.execute(update(USERS).where(USERS.c.username == user.username).values(**values))


def _keep_an_admin(connection: Connection, user: Row[Any], *, force: bool) -> None:
    others = connection.scalars(
        select(USERS.c.scopes).where(USERS.c.disabled.is_(False), USERS.c.username != user.username)
    )
    is_admin = "admin" in user.scopes.split() and not user.disabled
    if is_admin and not force and not any("admin" in scopes.split() for scopes in others):
        raise LastAdminError(f"{user.username!r} is the last admin; add another one first")
