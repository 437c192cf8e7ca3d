"""The users database: its tables, how it is reached, and how it is brought up to date."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import BigInteger, Connection, DateTime, Engine, String, Text, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from service.settings import file_error
from service.users.database_url import (
    BUSY_SECONDS,
    CONNECT_SECONDS,
    DatabaseDownError,
    PostgresqlServer,
    SqliteFile,
    parse,
)
from service.users.migrations import NEWEST

MIGRATION_SECONDS = 60.0
"""How long a process waits for another one's migration."""
_MIGRATION_LOCK = 0x6D6C5F75736572  # any number that other users of the same PostgreSQL don't lock


class Base(DeclarativeBase):
    """What the tables share."""


class User(Base):
    """Someone who may ask for a token.

    `revision` moves whenever the tokens given before must end: at a new password and when the user is
    disabled or enabled. A token carries the revision it was given under.
    """

    __tablename__ = "users"

    username: Mapped[str] = mapped_column(String(64), primary_key=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    scopes: Mapped[str] = mapped_column(String(255))
    disabled: Mapped[bool]
    revision: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Revision(Base):
    """One row: the newest revision of any user, so that one small query tells whether anything changed."""

    __tablename__ = "revision"

    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Feedback(Base):
    """What turned out to be true of a prediction; values as JSON."""

    __tablename__ = "feedback"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[str] = mapped_column(String(32))
    predicted: Mapped[str] = mapped_column(Text)
    actual: Mapped[str] = mapped_column(Text)
    predicted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Database:
    """Reaches the users database; every method may wait for it, so none belongs on the event loop.

    Raises DatabaseUrlError as `service.users.database_url.parse`.
    """

    def __init__(self, url: str) -> None:
        self._location = parse(url)
        self._engine = (
            _sqlite(self._location) if isinstance(self._location, SqliteFile) else _postgresql(self._location)
        )
        self._writer = self._engine.execution_options(writes=True)

    @property
    def where(self) -> str:
        """The URL without its password."""
        return str(self._location)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that reads; raises DatabaseDownError."""
        with _told(), Session(self._engine) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a session that is committed at the end; raises DatabaseDownError."""
        with _told(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def migrating(self) -> Iterator[Session]:
        """Bring the tables up to date, and keep other processes out of it until the block ends.

        Whatever the block writes is committed with the migration or not at all.
        """
        with _told():
            if isinstance(self._location, SqliteFile):
                _create(self._location.path)
            with self._writer.execution_options(patience=MIGRATION_SECONDS).begin() as connection:
                _lock(connection)
                _upgrade(connection)
                with Session(connection) as session:
                    yield session
                    session.flush()

    def close(self) -> None:
        """Close the connections that stand open."""
        self._engine.dispose()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise DatabaseDownError(" ".join(str(error.orig).split())) from error
    except PoolTimeoutError as error:
        raise DatabaseDownError("all connections to the users database are in use") from error
    except OSError as error:
        raise DatabaseDownError(file_error(error)) from error


def _sqlite(location: SqliteFile) -> Engine:
    """Open the file anew for each session, which costs 0.1 ms: a file that was moved away is noticed at once.

    Mode ``rw`` doesn't create it, so that a wrong path is an error and never an empty database.
    Parameters, among them hashes, are hidden in the words of errors.
    """
    address = f"file:{quote(str(location.path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(options.get('patience', BUSY_SECONDS) * 1000)}")
        # A transaction that will write takes the lock at once; taken later, it could only fail.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")

    return engine


def _postgresql(location: PostgresqlServer) -> Engine:
    # PgBouncer keeps no prepared statements.
    arguments: dict[str, Any] = {**location.arguments, "prepare_threshold": None}
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        connect_args=arguments,
        pool_pre_ping=True,
        pool_size=2,
        max_overflow=2,
        pool_timeout=CONNECT_SECONDS,
        hide_parameters=True,
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        patience = int(connection.get_execution_options().get("patience", BUSY_SECONDS) * 1000)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {patience}")

    return engine


def _create(path: Path) -> None:
    """Create the file if there is none, for its owner's eyes alone; SQLite would let everyone read the hashes."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _version(connection: Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version"))
    return version


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


def _upgrade(connection: Connection) -> None:
    if _version(connection) == NEWEST:
        return
    # Importing Alembic costs 0.15 s and 10 MB of each worker, so it is left out where there is nothing to do.
    from alembic import command, config, util  # noqa: PLC0415

    settings = config.Config()
    settings.set_main_option("script_location", "service.users:migrations")
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, "head")
    except util.CommandError as error:
        raise DatabaseDownError(
            f"the users database was written by a newer version of this service; use that one ({error})"
        ) from error
