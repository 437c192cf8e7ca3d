"""The users' revisions, as each worker asks for them at its start and every two seconds.

Asked over the bare driver, since it is all that most workers ever ask of the database:
SQLAlchemy takes 0.15 s of a start and 18 MB of each worker, and is imported by the first login.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from service.database_url import (
    BUSY_SECONDS,
    DatabaseDownError,
    PostgresqlServer,
    SqliteFile,
)
from service.migrations import NEWEST

_VERSION = "SELECT version_num FROM alembic_version"
_SOME_USER = "SELECT 1 FROM users LIMIT 1"
_NEWEST = "SELECT value FROM revision"
_CURRENT = "SELECT username, revision FROM users WHERE NOT disabled"

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]


class UserRevisions:
    """Reads revisions from the users database.

    Every method may wait for it, so none belongs on the event loop; one thread at a time may ask.
    """

    def __init__(self, location: SqliteFile | PostgresqlServer) -> None:
        self._reader = _Sqlite(location) if isinstance(location, SqliteFile) else _Postgresql(location)

    def are_ready(self) -> bool:
        """Tell whether there is neither anything to migrate nor a first admin to add."""
        try:
            with self._reader.asking() as ask:
                return ask(_VERSION) == [(NEWEST,)] and bool(ask(_SOME_USER))
        except DatabaseDownError:  # whoever prepares it will meet the reason again, and tell it
            return False

    def changes(self, since: int) -> tuple[int, dict[str, int]] | None:
        """Give the newest revision and that of each user who isn't disabled; None if it is still `since`.

        Raises DatabaseDownError.
        """
        with self._reader.asking() as ask:
            newest = next((value for (value,) in ask(_NEWEST)), None)
            return None if newest in {None, since} else (newest, dict(ask(_CURRENT)))

    def close(self) -> None:
        """Close the connection, if one stands open."""
        self._reader.close()


class _Sqlite:
    """Opens the file for each question, which costs 0.1 ms: one that was moved away is noticed at once."""

    def __init__(self, location: SqliteFile) -> None:
        self._address = f"file:{quote(str(location.path))}?mode=rw"

    @contextlib.contextmanager
    def asking(self) -> Iterator[Ask]:
        try:
            with contextlib.closing(
                sqlite3.connect(self._address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute("BEGIN")
                yield lambda statement: connection.execute(statement).fetchall()
        except sqlite3.Error as error:
            raise DatabaseDownError(" ".join(str(error).split())) from error

    def close(self) -> None:
        """Nothing stands open."""


class _Postgresql:
    """Keeps one connection, and opens another when that was lost."""

    def __init__(self, location: PostgresqlServer) -> None:
        import psycopg  # noqa: PLC0415  # installed where it is wanted

        self._psycopg = psycopg
        self._arguments: dict[str, Any] = dict(location.arguments)
        self._connection: psycopg.Connection | None = None

    @contextlib.contextmanager
    def asking(self) -> Iterator[Ask]:
        try:
            connection = self._connected()
            with connection.transaction():
                connection.execute(f"SET LOCAL statement_timeout = {int(BUSY_SECONDS * 1000)}")
                yield lambda statement: connection.execute(statement.encode()).fetchall()
        except self._psycopg.Error as error:
            raise DatabaseDownError(" ".join(str(error).split())) from error

    def _connected(self) -> Any:
        """Give a connection that answers."""
        if self._connection is not None:
            with contextlib.suppress(self._psycopg.Error):
                self._connection.execute("SELECT 1")
                return self._connection
            self.close()
        # PgBouncer keeps no prepared statements.
        self._connection = self._psycopg.connect(**self._arguments, autocommit=True, prepare_threshold=None)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
