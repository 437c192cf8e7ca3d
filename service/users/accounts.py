"""Add, check, list, change and remove users and API keys, for the command line, the API and the first start.

API keys are long-lived credentials of programs. The database has only their digests.
"""

import builtins
import logging
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from time import time_ns
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.users import rules
from service.users.database import REVISION, Account, ApiKey, Change, Database, DatabaseDownError, schema_version
from service.users.migrations import NEWEST
from service.users.passwords import Passwords
from service.users.rules import AccountError

PREFIX: Final = "key_"
"""The beginning of every key, by which people and scanners for leaked secrets recognise it."""
KEPT_CHANGES: Final = 86_400 * 10**6
"""How long the table `changes` keeps its rows, in revisions, which are microseconds or slower: a day."""

_log = logging.getLogger(__name__)


class Accounts:
    """Manages users. Every method may wait for the database, and raises DatabaseDownError if it doesn't answer.

    Methods that change a user raise AccountError if the change breaks a rule of `service.users.rules`.
    """

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    def prepare(self, username: str | None = None, password: str | None = None) -> bool:
        """Migrate the tables; if there is no user and a name is given, add the first admin. Return whether it did.

        Several processes may call this at the same time; only one of them makes the changes.
        Raises AccountError if the name or password breaks a rule.
        """
        if bool(username) != bool(password):
            raise AccountError("set both ADMIN_USERNAME and ADMIN_PASSWORD, or neither")
        if self._is_ready():  # this only reads, so it works if the disk is full or read-only
            return False
        with self._database.migrating() as session:
            if not username or not password or _has_users(session):
                return False
            try:
                self._insert(session, username, password, rules.SCOPES)
            except AccountError as error:
                raise AccountError(f"ADMIN_USERNAME or ADMIN_PASSWORD: {error}") from None
        _log.info("the first admin %s was added", username)
        return True

    def check(self, username: str, password: str) -> Account | None:
        """Return the account if the password is right and the user isn't disabled.

        Unknown user, wrong password and disabled user take the same steps: one look-up, one hash.
        """
        with self._database.reading() as session:
            user = session.get(Account, rules.lookup_name(username))
        matches = self._passwords.verify(user.password_hash if user else self._passwords.decoy, password)
        if user is None or not matches or user.disabled:
            return None
        if self._passwords.is_outdated(user.password_hash):
            self._renew(user, password)
        return user

    def add(self, username: str, password: str, scopes: Iterable[str] = ("predict",)) -> Account:
        """Add a user who can get tokens with these scopes."""
        with self._database.writing() as session:
            return self._insert(session, username, password, scopes)

    def list(self) -> builtins.list[Account]:
        """Return every user, in the order of names."""
        with self._database.reading() as session:
            return [*session.scalars(select(Account).order_by(Account.username))]

    def disable(self, username: str, *, force: bool = False) -> None:
        """Revoke the user's tokens and issue no new ones. Disable the last admin only with `force`."""
        with self._database.writing() as session:
            change, user = _begin_change(session), _find(session, username)
            _keep_an_admin(session, user, force=force)
            _revoke_tokens(user, change)
            user.disabled = True

    def enable(self, username: str) -> None:
        """Let a disabled user get tokens again; earlier tokens stay revoked."""
        with self._database.writing() as session:
            change, user = _begin_change(session), _find(session, username)
            if user.disabled:
                _revoke_tokens(user, change)
                user.disabled = False

    def set_password(self, username: str, password: str) -> None:
        """Change the password and revoke the user's tokens."""
        with self._database.writing() as session:
            change, user = _begin_change(session), _find(session, username)
            rules.check_password(password, user.username)
            _revoke_tokens(user, change)
            user.password_hash = self._passwords.hash(password)

    def remove(self, username: str, *, force: bool = False) -> None:
        """Remove the user and revoke the tokens. Remove the last admin only with `force`."""
        with self._database.writing() as session:
            change, user = _begin_change(session), _find(session, username)
            _keep_an_admin(session, user, force=force)
            change.revoked = user.revision
            session.delete(user)

    def _is_ready(self) -> bool:
        """Return whether there is nothing to migrate and no first admin to add."""
        try:
            with self._database.reading() as session:
                return schema_version(session) == NEWEST and _has_users(session)
        except DatabaseDownError:  # the migration fails for the same reason, and reports it
            return False

    def _renew(self, user: Account, password: str) -> None:
        """Replace the hash by one with the current parameters, unless the password has changed meanwhile."""
        unchanged = Account.username == user.username, Account.password_hash == user.password_hash
        try:
            with self._database.writing() as session:
                session.execute(update(Account).where(*unchanged).values(password_hash=self._passwords.hash(password)))
        except DatabaseDownError as error:  # a full disk is no reason to refuse a login
            _log.warning("the password hash of %s was not renewed: %s", user.username, error)

    def _insert(self, session: Session, username: str, password: str, scopes: Iterable[str]) -> Account:
        name, revision = rules.normalise(username), _begin_change(session).revision
        if session.get(Account, name):
            raise rules.UserExistsError(f"user {name!r} exists already; choose another name, or change the password")
        rules.check_password(password, name)
        hashed = self._passwords.hash(password)
        user = Account(name, hashed, frozenset(scopes), disabled=False, revision=revision, created_at=datetime.now(UTC))
        session.add(user)
        return user


class ApiKeys:
    """Manages keys. Every method may wait for the database, and raises DatabaseDownError if it doesn't answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, scopes: Iterable[str], lifetime: timedelta | None) -> tuple[str, ApiKey]:
        """Add a key; return its text, which isn't stored, and its properties. A `lifetime` of None means no expiry.

        Raises AccountError for a name that breaks a rule or is taken.
        """
        text = PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        expires_at = now + lifetime if lifetime else None
        key = ApiKey(rules.normalise(name), digest(text), frozenset(scopes), now, expires_at)
        with self._database.writing() as session:
            _begin_change(session).digest = key.digest
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
            change, key = _begin_change(session), session.get(ApiKey, rules.normalise(name))
            if key is None:
                raise AccountError(f"there is no key {name!r}")
            change.digest = key.digest
            session.delete(key)

    def record_use(self, names: Iterable[str]) -> None:
        """Store the current time as the last use of these keys."""
        with self._database.writing() as session:
            session.execute(update(ApiKey).where(ApiKey.name.in_(names)).values(last_used_at=datetime.now(UTC)))


def digest(text: str) -> str:
    """Return the SHA-256 of a key in hexadecimal. A key has 256 random bits, so a fast hash is safe."""
    return sha256(text.encode()).hexdigest()


def _begin_change(session: Session) -> Change:
    """Store a change with a new revision, by which each worker notices it, and delete changes older than a day.

    The lock of the only row of `revision` makes every other change wait until this one is committed. So changes commit
    in the order of their revisions, and a worker that has read one has read all before it.

    A revision is at least the clock's time in microseconds, so a new database doesn't repeat the revisions of an older
    one whose tokens may still be in use.
    """
    newest = session.scalar(select(REVISION.c.value).with_for_update()) or 0
    change = Change(max(newest + 1, time_ns() // 1000), newest)
    session.execute(update(REVISION).values(value=change.revision))
    session.execute(delete(Change).where(Change.revision < change.revision - KEPT_CHANGES))
    session.add(change)
    return change


def _revoke_tokens(user: Account, change: Change) -> None:
    change.revoked, user.revision = user.revision, change.revision


def _has_users(session: Session) -> bool:
    return session.scalar(select(Account.username).limit(1)) is not None


def _find(session: Session, username: str) -> Account:
    user = session.get(Account, rules.lookup_name(username))
    if user is None:
        raise rules.UnknownUserError(f"there is no user {username!r}")
    return user


def _keep_an_admin(session: Session, user: Account, *, force: bool) -> None:
    others = session.scalars(
        select(Account.scopes).where(Account.disabled.is_(False), Account.username != user.username)
    )
    is_admin = "admin" in user.scopes and not user.disabled
    if is_admin and not force and not any("admin" in scopes for scopes in others):
        raise rules.LastAdminError(f"{user.username!r} is the last admin; add another one first")
