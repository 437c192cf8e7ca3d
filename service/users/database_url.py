"""DATABASE_URL: parsed, and what is raised when it can't be used."""

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from service.settings import ROOT

BUSY_SECONDS: Final = 5.0
"""How long a statement may wait for another one's lock."""
CONNECT_SECONDS: Final = 3
_LIBPQ_DEFAULTS: Final = {
    "connect_timeout": str(CONNECT_SECONDS),
    # A host that vanished is given up after ten seconds; Linux would wait for a quarter of an hour.
    "tcp_user_timeout": "10000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
_FORMS: Final = "expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME"


class DatabaseUrlError(ValueError):
    """DATABASE_URL names no usable database; one line that says why and what to do."""


class DatabaseDownError(Exception):
    """The database doesn't answer, or not as expected; one line with its URL, but for the password, and its words."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A users database in a file."""

    path: Path

    def __str__(self) -> str:
        return f"sqlite:///{self.path}"


@dataclass(frozen=True, slots=True)
class PostgresqlServer:
    """A users database on a server."""

    arguments: dict[str, str] = field(repr=False)
    """libpq's connection parameters: host, port, user, password, dbname and others."""

    def __str__(self) -> str:
        """Return the URL without the password and other parameters."""
        known = self.arguments
        port = f":{known['port']}" if "port" in known else ""
        user = f"{known.get('user', '')}{':***' if 'password' in known else ''}"
        return f"postgresql://{user}{'@' if user else ''}{known.get('host', '')}{port}/{known.get('dbname', '')}"


def parse(url: str) -> SqliteFile | PostgresqlServer:
    """Parse DATABASE_URL.

    Parameters
    ----------
    url
        ``sqlite:////absolute.db``, ``sqlite:///from/the/repository's/root.db`` or
        ``postgresql://user:password@host/name`` with special characters percent-encoded. libpq parses the
        latter, with all that it knows: several hosts, sockets, parameters after a question mark.

    Raises DatabaseUrlError for any other form, and if PostgreSQL's driver is needed and not installed; the
    message never contains the password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise DatabaseUrlError(f"DATABASE_URL is no URL; {_FORMS}")
    if scheme in {"sqlite", "sqlite+pysqlite"}:
        name = rest.removeprefix("/")
        if name == rest or name in {"", ":memory:"}:
            raise DatabaseUrlError("DATABASE_URL names no file; expected sqlite:///FILE, since workers share it")
        if "?" in name:  # SQLite would create a file of that name, with no users in it
            raise DatabaseUrlError("DATABASE_URL has settings after a ?; SQLite's takes none")
        return SqliteFile(ROOT / name)
    if scheme in {"postgresql", "postgres", "postgresql+psycopg"}:
        return _postgresql(rest)
    raise DatabaseUrlError(f"DATABASE_URL begins with {scheme}://; expected sqlite:/// or postgresql://")


def _postgresql(rest: str) -> PostgresqlServer:
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415  # only installed where it is used
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    except ImportError:
        hint = "install requirements/postgres.txt"
        raise DatabaseUrlError(f"DATABASE_URL names PostgreSQL, but its driver is missing; {hint}") from None
    given: dict[str, str] | None = None
    with contextlib.suppress(ProgrammingError, UnicodeError):  # their messages may contain the password
        given = {name: str(value) for name, value in conninfo_to_dict(f"postgresql://{rest}").items()}
    user = rest.rpartition("@")[0]
    # What follows an unencoded / or @ of a password must not pass for a host or the database's name.
    is_port = re.compile("[0-9]*(,[0-9]*)*").fullmatch
    if given is None or "/" in user or "@" in user or not is_port(given.get("port", "")):
        hint = "percent-encode special characters of the password; after a ? only libpq's parameters count"
        raise DatabaseUrlError(f"DATABASE_URL is no URL; {_FORMS}; {hint}")
    return PostgresqlServer({**_LIBPQ_DEFAULTS, **given})
