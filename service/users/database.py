"""The users database: parse its URL, define its tables, connect and migrate."""

import contextlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, Engine, Integer, String, Table, Text, event
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column
from sqlalchemy.pool import NullPool

from service.settings import ROOT
from service.users.migrations import NEWEST

BUSY_SECONDS: Final = 5.0
"""How long a statement may wait for the lock of another transaction."""
MIGRATION_SECONDS: Final = 60.0
"""How long a process waits while another one migrates the database."""
_MIGRATION_LOCK: Final = 0x6D6C5F75736572  # any number that no other program locks in this database
_LIBPQ_DEFAULTS: Final = {
    "connect_timeout": "3",
    # Give up on a host that vanished after ten seconds; by default Linux waits for 15 minutes.
    "tcp_user_timeout": "10000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
_TOO_MANY: Final = re.compile("too many (clients|connections)|connection slots")
"""In the reason for which PostgreSQL refuses a connection; the driver has no code for it."""
_FORMS: Final = (
    "expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME, with special characters in the password "
    "percent-encoded"
)


class DatabaseUrlError(ValueError):
    """DATABASE_URL can't be used. The message is one line with the reason and what to do, without the password."""


class DatabaseDownError(Exception):
    """The database doesn't answer or reports an error. The message is one line with its URL, without the password."""


class Moment(sa.types.TypeDecorator[datetime]):
    """A time in UTC. SQLite stores no time zone, and PostgreSQL returns times in the session's zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, _dialect: Any) -> datetime | None:
        """Return the time in UTC, or None."""
        if value is None or value.tzinfo is None:
            return value and value.replace(tzinfo=UTC)
        return value.astimezone(UTC)


class Scopes(sa.types.TypeDecorator[frozenset[str]]):
    """A set of scopes, stored as text with spaces between them."""

    impl = String(255)
    cache_ok = True

    def process_bind_param(self, value: frozenset[str] | None, _dialect: Any) -> str | None:
        """Return the text to store."""
        return None if value is None else " ".join(sorted(value))

    def process_result_value(self, value: str | None, _dialect: Any) -> frozenset[str] | None:
        """Return the stored scopes."""
        return None if value is None else frozenset(value.split())


class Base(MappedAsDataclass, DeclarativeBase):
    """The base of the classes whose objects are rows of a table."""

    type_annotation_map: ClassVar = {datetime: Moment, frozenset[str]: Scopes}


class Account(Base):
    """A user."""

    __tablename__ = "users"

    username: Mapped[str] = mapped_column(String(64), primary_key=True)
    password_hash: Mapped[str] = mapped_column(String(255), repr=False)
    scopes: Mapped[frozenset[str]]
    disabled: Mapped[bool]
    revision: Mapped[int] = mapped_column(BigInteger, index=True)
    """Changes whenever the user's tokens must be revoked: a token is valid only with the current revision."""
    created_at: Mapped[datetime]


class ApiKey(Base):
    """An API key, of which the database has only the digest."""

    __tablename__ = "api_keys"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 of the key, in hexadecimal."""
    scopes: Mapped[frozenset[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)


class Change(Base):
    """A change of a user or an API key in the last day, by which workers read only what is new."""

    __tablename__ = "changes"

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    previous: Mapped[int] = mapped_column(BigInteger)
    """The revision of the change before."""
    revoked: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """The revision that the changed or removed user had."""
    digest: Mapped[str | None] = mapped_column(String(64), default=None)
    """The digest of the key that was added or removed."""


REVISION: Final = Table(  # one row with the newest revision, so one small query finds out whether anything changed
    "revision",
    Base.metadata,
    Column("id", Integer, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
FEEDBACK: Final = Table(  # actual outcomes; `predicted` and `actual` are JSON
    "feedback",
    Base.metadata,
    Column("id", String(32), primary_key=True),
    Column("version", String(32), nullable=False),
    Column("predicted", Text, nullable=False),
    Column("actual", Text, nullable=False),
    Column("predicted_at", Moment, nullable=False),
    Column("received_at", Moment, nullable=False),
)


class Database:
    """Connects to the users database.

    Every method may wait for it, so call none on the event loop. They raise DatabaseDownError; the constructor
    raises DatabaseUrlError.

    Parameters
    ----------
    url
        ``sqlite:////absolute.db``, ``sqlite:///from/the/repository's/root.db`` or
        ``postgresql://user:password@host/name``, with libpq's parameters after a question mark.
    connections
        The most connections to PostgreSQL; a transaction waits up to BUSY_SECONDS for a free one.
    """

    def __init__(self, url: str, connections: int = 4) -> None:
        parsed = _parse(url)
        self._file = ROOT / str(parsed.database) if parsed.get_backend_name() == "sqlite" else None
        self._engine = _sqlite(self._file) if self._file else _postgresql(parsed, connections)
        event.listen(self._engine, "begin", _begin)
        self._shown = f"sqlite:///{self._file}" if self._file else parsed.set(query={}).render_as_string()

    def reading(self) -> AbstractContextManager[Session]:
        """Open a transaction for queries. Unlike `writing`, it doesn't take SQLite's write lock at its start."""
        return self._transaction()

    def writing(self) -> AbstractContextManager[Session]:
        """Open a transaction that may write; it is committed at the end, or rolled back after an error."""
        return self._transaction(writes=True)

    @contextlib.contextmanager
    def migrating(self) -> Iterator[Session]:
        """Migrate the tables and run the block in the same transaction; other processes wait until it ends."""
        with self._transaction(writes=True, creates=True, patience=MIGRATION_SECONDS) as session:
            if session.get_bind().dialect.name == "postgresql":
                session.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            if schema_version(session) != NEWEST:
                _migrate(session.connection())
            yield session

    def close(self) -> None:
        """Close the open connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _transaction(self, *, creates: bool = False, **options: Any) -> Iterator[Session]:
        try:
            if creates and self._file:
                self._file.touch(mode=0o600)  # SQLite would make it readable for everyone
            engine = self._engine.execution_options(**options)
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session
        except (DBAPIError, OSError, PoolTimeoutError) as error:
            raise DatabaseDownError(f"{self._shown}: {_reason(error)}") from error


def schema_version(session: Session) -> str | None:
    """Return the number of the last migration, or None for an empty database."""
    if not sa.inspect(session.connection()).has_table("alembic_version"):
        return None
    version: str | None = session.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


def _reason(error: DBAPIError | OSError | PoolTimeoutError) -> str:
    """Return an error's reason in one line, and what to do if there are too many connections."""
    if isinstance(error, PoolTimeoutError):
        return "all connections of this worker are in use; raise DATABASE_CONNECTIONS"
    reason = " ".join(str(error.orig if isinstance(error, DBAPIError) else error.strerror).split())
    if _TOO_MANY.search(reason):
        reason += "; lower DATABASE_CONNECTIONS, run fewer replicas, or raise PostgreSQL's max_connections"
    return reason


def _parse(text: str) -> sa.URL:
    """Parse DATABASE_URL. Raises DatabaseUrlError."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):  # which may contain the password
        raise DatabaseUrlError(f"DATABASE_URL is no URL; {_FORMS}") from None
    if url.drivername in {"postgresql", "postgres", "postgresql+psycopg"} and "@" not in (url.host or ""):
        return url.set(drivername="postgresql")
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise DatabaseUrlError(f"DATABASE_URL is for an unknown kind of database; {_FORMS}")
    if url.database in {None, "", ":memory:"} or url.query:
        raise DatabaseUrlError("DATABASE_URL names no file; expected sqlite:///FILE without parameters")
    return url


def _sqlite(file: Path) -> Engine:
    """Return an engine that opens the file for each transaction: this costs 0.1 ms, but notices at once if it is gone.

    The mode ``rw`` doesn't create a file, so a wrong path is an error and not an empty database.
    Errors don't show parameters, because some are hashes.
    """
    url = sa.URL.create("sqlite", database=f"file:{quote(str(file))}", query={"mode": "rw", "uri": "true"})
    own_transactions = {"isolation_level": None}  # `_begin` begins them
    return sa.create_engine(url, connect_args=own_transactions, poolclass=NullPool, hide_parameters=True)


def _postgresql(url: sa.URL, connections: int) -> Engine:
    try:
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg", query={**_LIBPQ_DEFAULTS, **url.query}),
            connect_args={"prepare_threshold": None},  # PgBouncer keeps no prepared statements
            pool_pre_ping=True,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            hide_parameters=True,
        )
    except ImportError:
        hint = "install requirements/postgres.txt"
        raise DatabaseUrlError(f"DATABASE_URL names PostgreSQL, but its driver is missing; {hint}") from None


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    patience = int(options.get("patience", BUSY_SECONDS) * 1000)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {patience}")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience}")
    # Take the write lock at the start: if a transaction asks for it after reading, SQLite may refuse without waiting.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")


def _migrate(connection: Connection) -> None:
    # Importing Alembic takes 0.15 s and 10 MB in each worker, so only a migration imports it.
    from alembic import command, config, util  # noqa: PLC0415

    settings = config.Config()
    settings.set_main_option("script_location", "service.users:migrations")
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, "head")
    except util.CommandError as error:
        raise DatabaseDownError(
            f"a newer version of this service migrated the users database; run that version ({error})"
        ) from error
