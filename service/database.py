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
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from service.settings import ROOT

NEWEST = "0002"
"""The last of the migrations."""
BUSY_SECONDS = 5.0
"""How long a statement may wait for another one's lock."""
MIGRATION_SECONDS = 60.0
"""How long a process waits for another one's migration."""
CONNECT_SECONDS = 3
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


class DatabaseUrlError(ValueError):
    """DATABASE_URL names no database that can be used; one line that says why and what to do."""


class DatabaseDownError(Exception):
    """The database gave no answer, or none that makes sense; one line with its own words."""


class Database:
    """Reaches the users database; every method may wait for it, so none belongs on the event loop.

    Parameters
    ----------
    url
        ``sqlite:////absolute.db``, ``sqlite:///from/the/repository's/root.db`` or ``postgresql://user:password@host/name``.

    Raises
    ------
    DatabaseUrlError
        For any other form, or when PostgreSQL's driver isn't installed.
    """

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        self._engine = _sqlite(self._url) if self._url.get_backend_name() == "sqlite" else _postgresql(self._url)
        self._writer = self._engine.execution_options(writes=True)

    @property
    def where(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

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
            if self._url.database and self._url.get_backend_name() == "sqlite":
                _create(Path(self._url.database))
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
        raise DatabaseDownError(f"{error.filename}: {error.strerror}") from error


def _parse(url: str) -> sqlalchemy.URL:
    try:
        parsed = sqlalchemy.make_url(url)
    except (ArgumentError, ValueError):
        # The text stays out of the message: it may hold a password.
        raise DatabaseUrlError(
            "DATABASE_URL is no URL; expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME"
        ) from None
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        if not parsed.database or parsed.database == ":memory:":
            raise DatabaseUrlError("DATABASE_URL names no file; expected sqlite:///FILE, since workers share it")
        return parsed.set(database=str(ROOT / parsed.database))
    raise DatabaseUrlError(f"DATABASE_URL begins with {parsed.drivername}://; expected sqlite:/// or postgresql://")


def _sqlite(url: sqlalchemy.URL) -> Engine:
    """Open the file anew for each session, which costs 0.1 ms: a file that was moved away is noticed at once.

    Mode ``rw`` doesn't create it, so that a wrong path is an error and never an empty database.
    Parameters, among them hashes, are hidden in the words of errors.
    """
    address = f"file:{quote(url.database or '')}?mode=rw"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)

    engine = sqlalchemy.create_engine(url, creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(options.get('patience', BUSY_SECONDS) * 1000)}")
        # A transaction that will write takes the lock at once; taken later, it could only fail.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")

    return engine


def _postgresql(url: sqlalchemy.URL) -> Engine:
    arguments: dict[str, Any] = {"prepare_threshold": None}  # PgBouncer keeps no prepared statements
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = CONNECT_SECONDS
    try:
        engine = sqlalchemy.create_engine(
            url,
            connect_args=arguments,
            pool_pre_ping=True,
            pool_size=2,
            max_overflow=2,
            pool_timeout=CONNECT_SECONDS,
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise DatabaseUrlError(
            "DATABASE_URL names PostgreSQL, but its driver is missing; install requirements/postgres.txt"
        ) from None

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
    settings.set_main_option("script_location", "service:migrations")
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, "head")
    except util.CommandError as error:
        raise DatabaseDownError(
            f"the users database was written by a newer version of this service; use that one ({error})"
        ) from error
