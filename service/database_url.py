"""DATABASE_URL: which users database is meant, and what is raised when it cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from service.settings import ROOT

BUSY_SECONDS: Final = 5.0
"""How long a statement may wait for another one's lock."""
CONNECT_SECONDS: Final = 3
_SQLITE: Final = ("sqlite", "sqlite+pysqlite")
_POSTGRESQL: Final = ("postgresql", "postgres", "postgresql+psycopg")
MISSING_DRIVER: Final = "DATABASE_URL names PostgreSQL, but its driver is missing; install requirements/postgres.txt"
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

    arguments: Mapping[str, str]
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
        special characters percent-encoded.

    Raises DatabaseUrlError for any other form; its text never holds the password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise DatabaseUrlError(f"DATABASE_URL is no URL; {_FORMS}")
    if scheme in _SQLITE:
        name = rest.removeprefix("/")
        if name == rest or name in {"", ":memory:"}:
            raise DatabaseUrlError("DATABASE_URL names no file; expected sqlite:///FILE, since workers share it")
        return SqliteFile(ROOT / name)
    if scheme in _POSTGRESQL:
        return _postgresql(rest)
    raise DatabaseUrlError(f"DATABASE_URL begins with {scheme}://; expected sqlite:/// or postgresql://")


def _postgresql(rest: str) -> PostgresqlServer:
    try:
        parts = urlsplit(f"postgresql://{rest}")
        found = {
            "host": parts.hostname,
            "port": str(parts.port) if parts.port else None,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "dbname": unquote(parts.path.removeprefix("/")),
        }
    except ValueError:
        parts, found = None, {}
    # What stands behind an unencoded / or # of a password must not pass for the database's name.
    if parts is None or "@" in parts.path + parts.query or parts.fragment:
        hint = "percent-encode special characters of the password"
        raise DatabaseUrlError(f"DATABASE_URL is no URL; {_FORMS}; {hint}") from None
    given = {name: value for name, value in found.items() if value}
    return PostgresqlServer({"connect_timeout": str(CONNECT_SECONDS), **given, **dict(parse_qsl(parts.query))})
