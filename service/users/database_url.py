"""DATABASE_URL: which users database is meant, and what is raised when it cannot be used."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from service.settings import ROOT

BUSY_SECONDS: Final = 5.0
"""How long a statement may wait for another one's lock."""
CONNECT_SECONDS: Final = 3
_ARGUMENTS: Final = {
    "connect_timeout": str(CONNECT_SECONDS),
    # A host that vanished without a word is given up after ten seconds; Linux would wait for a quarter of an hour.
    "tcp_user_timeout": "10000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
"""What libpq is told unless the URL says otherwise."""
_SQLITE: Final = ("sqlite", "sqlite+pysqlite")
_POSTGRESQL: Final = ("postgresql", "postgres", "postgresql+psycopg")
_MISSING_DRIVER: Final = "DATABASE_URL names PostgreSQL, but its driver is missing; install requirements/postgres.txt"
_NUMBER: Final = re.compile("[0-9]{1,5}")
_LAST_PORT: Final = 65_535
_FORMS: Final = "expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME"


class DatabaseUrlError(ValueError):
    """DATABASE_URL names no database that can be used; one line that says why and what to do."""


class DatabaseDownError(Exception):
    """The database gave no answer, or none that makes sense; one line with its own words."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A users database in a file."""

    path: Path

    def __str__(self) -> str:
        """Give the URL."""
        return f"sqlite:///{self.path}"


@dataclass(frozen=True, slots=True)
class PostgresqlServer:
    """A users database on a server."""

    arguments: Mapping[str, str] = field(repr=False)
    """What libpq calls connection parameters: host, port, user, password, dbname and others."""

    def __str__(self) -> str:
        """Give the URL without the password and other parameters."""
        known = self.arguments
        password = ":***" if "password" in known else ""
        port = f":{known['port']}" if "port" in known else ""
        user = f"{known.get('user', '')}{password}"
        return f"postgresql://{user}{'@' if user else ''}{known.get('host', '')}{port}/{known.get('dbname', '')}"


def parse(url: str) -> SqliteFile | PostgresqlServer:
    """Read DATABASE_URL.

    Parameters
    ----------
    url
        ``sqlite:////absolute.db``, ``sqlite:///from/the/repository's/root.db`` or ``postgresql://user:password@host/name``,
        special characters percent-encoded. The latter is read by libpq, with all that it knows: several hosts,
        sockets, parameters behind a question mark.

    Raises DatabaseUrlError for any other form, and if PostgreSQL's driver is wanted and isn't installed; its text
    never holds the password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise DatabaseUrlError(f"DATABASE_URL is no URL; {_FORMS}")
    if scheme in _SQLITE:
        name = rest.removeprefix("/")
        if name == rest or name in {"", ":memory:"}:
            raise DatabaseUrlError("DATABASE_URL names no file; expected sqlite:///FILE, since workers share it")
        if "?" in name:  # a file of that name would be made, with no users in it
            raise DatabaseUrlError("DATABASE_URL has settings behind a ?; one that names a file takes none")
        return SqliteFile(ROOT / name)
    if scheme in _POSTGRESQL:
        return _postgresql(rest)
    raise DatabaseUrlError(f"DATABASE_URL begins with {scheme}://; expected sqlite:/// or postgresql://")


def _postgresql(rest: str) -> PostgresqlServer:
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415  # installed where it is wanted
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    except ImportError:
        raise DatabaseUrlError(_MISSING_DRIVER) from None
    given: dict[str, str] | None = None
    # Its own words may hold the password.
    with contextlib.suppress(ProgrammingError, UnicodeError):
        given = {name: str(value) for name, value in conninfo_to_dict(f"postgresql://{rest}").items()}
    user = rest.rpartition("@")[0]
    # What stands behind an unencoded / or @ of a password must not pass for a host or the database's name.
    if given is None or "/" in user or "@" in user or not _are_ports(given.get("port", "")):
        hint = "percent-encode special characters of the password; behind ? stand libpq's parameters only"
        raise DatabaseUrlError(f"DATABASE_URL is no URL; {_FORMS}; {hint}")
    return PostgresqlServer({**_ARGUMENTS, **given})


def _are_ports(text: str) -> bool:
    return all(not port or (_NUMBER.fullmatch(port) and 0 < int(port) <= _LAST_PORT) for port in text.split(","))
