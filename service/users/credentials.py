"""Passwords checked against the users database, without SQLAlchemy."""

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from service.users.bare_reader import open_reader
from service.users.database_url import PostgresqlServer, SqliteFile
from service.users.passwords import Passwords
from service.users.rules import Account, lookup_name

_STORED = "SELECT username, scopes, disabled, created_at, revision, password_hash FROM users WHERE username = ?"

Renew = Callable[[str, str, str], None]
"""Hashes a password anew: takes the user's name, the hash that is stored and the password."""


class Credentials:
    """Tells whose a password is; may wait for the database, and several threads may ask."""

    def __init__(self, location: SqliteFile | PostgresqlServer, passwords: Passwords, renew: Renew) -> None:
        self._reader = open_reader(location)
        self._reading = Lock()
        self._passwords = passwords
        self._renew = renew

    def check(self, username: str, password: str) -> Account | None:
        """Give the account if the password is the user's and the user isn't disabled.

        Unknown user, wrong password and disabled user take the same steps: one look-up, one hash.
        Raises DatabaseDownError.
        """
        account, stored = self._find(lookup_name(username)) or (None, self._passwords.decoy)
        matches = self._passwords.verify(stored, password)
        if account is None or not matches or account.disabled:
            return None
        if self._passwords.is_outdated(stored):
            self._renew(account.username, stored, password)
        return account

    def close(self) -> None:
        """Close the connection, if one stands open."""
        self._reader.close()

    def _find(self, name: str) -> tuple[Account, str] | None:
        with self._reading, self._reader.asking() as ask:
            for username, scopes, disabled, created, revision, stored in ask(_STORED, name):
                account = Account(username, frozenset(scopes.split()), bool(disabled), _in_utc(created), revision)
                return account, stored
        return None


def _in_utc(moment: datetime | str) -> datetime:
    """SQLite keeps text and no zone, PostgreSQL gives the session's."""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
