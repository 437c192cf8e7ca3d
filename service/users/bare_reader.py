"""Questions to the users database over its bare driver.

They are all that most workers ever ask of it: SQLAlchemy takes 0.4 s and 17 MB of each worker
that writes or administers, and is imported by the first who does.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import quote

from service.users.database_url import BUSY_SECONDS, DatabaseDownError, PostgresqlServer, SqliteFile

Ask = Callable[..., list[tuple[Any, ...]]]
"""Takes a statement with a ? for each value, and the values; gives the rows."""


class Reader(Protocol):
    """Reads a users database; one thread at a time may ask."""

    def asking(self) -> AbstractContextManager[Ask]:
        """Ask in one transaction, which is rolled back. Raises DatabaseDownError."""

    def close(self) -> None:
        """Close the connection, if one stands open."""


def open_reader(location: SqliteFile | PostgresqlServer) -> Reader:
    """Give what reads that database; no connection is opened before the first question."""
    return _Sqlite(location) if isinstance(location, SqliteFile) else _Postgresql(location)


class _Sqlite:
    """Opens the file for each question, which costs 0.1 ms: one that was moved away is noticed at once."""

    def __init__(self, location: SqliteFile) -> None:
        self._path = location.path
        self._address = f"file:{quote(str(location.path))}?mode=rw"

    @contextlib.contextmanager
    def asking(self) -> Iterator[Ask]:
        try:
            with contextlib.closing(
                sqlite3.connect(self._address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute("BEGIN")
                yield lambda statement, *values: connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise DatabaseDownError(f"{self._path}: {' '.join(str(error).split())}") from error

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
            with connection.transaction(force_rollback=True):
                connection.execute(f"SET LOCAL statement_timeout = {int(BUSY_SECONDS * 1000)}")
                yield lambda statement, *values: connection.execute(_as_psycopg(statement), values).fetchall()
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


def _as_psycopg(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()
