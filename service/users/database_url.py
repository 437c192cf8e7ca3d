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
class Location:
    """Where the users database is: a file for SQLite, libpq's connection parameters for PostgreSQL."""

    url: str
    """Without the password and other parameters."""
    file: Path | None = None
    arguments: dict[str, str] = field(default_factory=dict, repr=False)


def parse(url: str) -> Location:
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
        return Location(f"sqlite:///{ROOT / name}", file=ROOT / name)
    if scheme in {"postgresql", "postgres", "postgresql+psycopg"}:
        return _postgresql(rest)
    raise DatabaseUrlError(f"DATABASE_URL begins with {scheme}://; expected sqlite:/// or postgresql://")


def _postgresql(rest: str) -> Location:
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415  # only installed where it is used
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    except ImportError:
        hint = "install requirements/postgres.txt"
        raise DatabaseUrlError(f"DATABASE_URL names PostgreSQL, but its driver is missing; {hint}") from None
    given: dict[str, str] | None = None
    with contextlib.suppress(ProgrammingError, UnicodeError):  # their messages may contain the password
        given = {name: str(value) for name, value in conninfo_to_dict(f"postgresql://{rest}").items()}
    user, at, server = rest.rpartition("@")
    # What follows an unencoded / or @ of a password must not pass for a host or the database's name.
    is_port = re.compile("[0-9]*(,[0-9]*)*").fullmatch
    if given is None or "/" in user or "@" in user or not is_port(given.get("port", "")):
        hint = "percent-encode special characters of the password; after a ? only libpq's parameters count"
        raise DatabaseUrlError(f"DATABASE_URL is no URL; {_FORMS}; {hint}")
    name, colon, _ = user.partition(":")
    shown = f"postgresql://{name}{colon and ':***'}{at}{server.partition('?')[0]}"
    return Location(shown, arguments={**_LIBPQ_DEFAULTS, **given})
