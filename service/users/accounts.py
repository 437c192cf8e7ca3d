"""What can be done with a user, the same for the command line, the API and the first start."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from time import time_ns

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from service.users.database import Database, Revision, User
from service.users.database_url import DatabaseDownError
from service.users.passwords import Passwords
from service.users.rules import (
    SCOPES,
    Account,
    LastAdminError,
    UnknownUserError,
    UserExistsError,
    check_password,
    check_scopes,
    lookup_name,
    normalise,
)

_log = logging.getLogger(__name__)


class Accounts:
    """The users; every method may wait for the database and raises DatabaseDownError when there is none."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    @property
    def where(self) -> str:
        """The database's URL without its password."""
        return self._database.where

    def prepare(self, admin_username: str, admin_password: str) -> bool:
        """Bring the tables up to date and, if there is no user at all, add the first admin.

        Several processes may do so at once: one goes first, the others find everything done.
        Returns whether the admin was added; raises AccountError for a name or password against the rules.
        """
        with self._database.migrating() as session:
            if not admin_username or session.scalar(select(func.count()).select_from(User)):
                return False
            self._insert(session, admin_username, admin_password, SCOPES)
            return True

    def migrate(self) -> None:
        """Bring the tables up to date."""
        with self._database.migrating():
            pass

    def add(self, username: str, password: str, scopes: Iterable[str] = ("predict",)) -> Account:
        """Add a user who may ask for tokens of these scopes."""
        with self._database.writing() as session:
            return self._insert(session, username, password, scopes)

    def list(self) -> list[Account]:
        """Give every user, by name."""
        with self._database.reading() as session:
            return [_account(user) for user in session.scalars(select(User).order_by(User.username))]

    def disable(self, username: str, *, force: bool = False) -> None:
        """End the user's tokens and give no new ones; the last admin only with `force`."""
        with self._database.writing() as session:
            revision = _next_revision(session)
            user = _find(session, username)
            _keep_an_admin(session, user, force=force)
            user.disabled, user.revision = True, revision

    def enable(self, username: str) -> None:
        """Let a disabled user ask for tokens again; those from before stay ended. Others' tokens live on."""
        with self._database.writing() as session:
            revision = _next_revision(session)
            user = _find(session, username)
            if user.disabled:
                user.disabled, user.revision = False, revision

    def set_password(self, username: str, password: str) -> None:
        """Change the password and end the tokens that were given for the old one."""
        with self._database.writing() as session:
            revision = _next_revision(session)
            user = _find(session, username)
            check_password(password, user.username)
            user.password_hash, user.revision = self._passwords.hash(password), revision

    def remove(self, username: str, *, force: bool = False) -> None:
        """Remove the user and end the tokens; the last admin only with `force`."""
        with self._database.writing() as session:
            _next_revision(session)
            user = _find(session, username)
            _keep_an_admin(session, user, force=force)
            session.delete(user)

    def renew(self, username: str, stored: str, password: str) -> None:
        """Hash anew with today's parameters, unless the password was changed meanwhile; tokens go on."""
        statement = update(User).where(User.username == username, User.password_hash == stored)
        try:
            with self._database.writing() as session:
                session.execute(statement.values(password_hash=self._passwords.hash(password)))
        except DatabaseDownError as error:  # a full disk is no reason to refuse a login
            _log.warning("the password hash of %s was not renewed: %s", username, error)

    def _insert(self, session: Session, username: str, password: str, scopes: Iterable[str]) -> Account:
        name, revision = normalise(username), _next_revision(session)
        if session.get(User, name):
            raise UserExistsError(f"user {name!r} exists already; choose another name, or change the password")
        check_password(password, name)
        user = User(
            username=name,
            password_hash=self._passwords.hash(password),
            scopes=" ".join(check_scopes(scopes)),
            disabled=False,
            revision=revision,
            created_at=datetime.now(UTC),
        )
        session.add(user)
        return _account(user)


def _account(user: User) -> Account:
    # SQLite keeps no time zone, PostgreSQL gives the session's.
    created = user.created_at.astimezone(UTC) if user.created_at.tzinfo else user.created_at.replace(tzinfo=UTC)
    return Account(user.username, frozenset(user.scopes.split()), user.disabled, created, user.revision)


def _find(session: Session, username: str) -> User:
    user = session.get(User, lookup_name(username))
    if user is None:
        raise UnknownUserError(f"there is no user {username!r}")
    return user


def _keep_an_admin(session: Session, user: User, *, force: bool) -> None:
    others = session.scalars(select(User.scopes).where(User.disabled.is_(False), User.username != user.username))
    is_admin = "admin" in user.scopes.split() and not user.disabled
    if is_admin and not force and not any("admin" in scopes.split() for scopes in others):
        raise LastAdminError(f"{user.username!r} is the last admin; add another one first")


def _next_revision(session: Session) -> int:
    """Draw a new revision; the row's lock makes every other change wait until this one is committed.

    It is never below the clock's microseconds, so that a database made anew doesn't repeat the revisions
    of the one before, for which tokens may still be about.
    """
    row = session.get_one(Revision, 1, with_for_update=True)
    row.value = max(row.value + 1, time_ns() // 1000)
    return row.value
