"""The users' revisions over the bare driver: what SQLAlchemy wrote, without SQLAlchemy."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from service.users.accounts import Accounts
from service.users.database import Database
from service.users.database_url import DatabaseDownError, DatabaseUrlError, PostgresqlServer, SqliteFile, parse
from service.users.revisions import UserRevisions

if TYPE_CHECKING:
    from tests.service.conftest import Postgres

PASSWORD = "correct horse"


@pytest.fixture
def revisions(database_url: str, read_revisions: Callable[[str], UserRevisions]) -> UserRevisions:
    return read_revisions(database_url)


def test_a_database_without_tables_is_not_ready(revisions: UserRevisions) -> None:
    assert not revisions.are_ready()


def test_a_database_without_users_is_not_ready(accounts: Accounts, revisions: UserRevisions) -> None:
    assert accounts.list() == []
    assert not revisions.are_ready()


def test_a_database_with_a_user_is_ready(accounts: Accounts, revisions: UserRevisions) -> None:
    accounts.add("anna", PASSWORD)

    assert revisions.are_ready()


def test_tables_of_another_version_are_not_ready(
    accounts: Accounts, revisions: UserRevisions, database_url: str, connect: Callable[[str], Database]
) -> None:
    accounts.add("anna", PASSWORD)
    with connect(database_url).migrating() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")

    assert not revisions.are_ready()


def test_users_who_are_disabled_have_no_revision(accounts: Accounts, revisions: UserRevisions) -> None:
    anna = accounts.add("anna", PASSWORD)
    accounts.add("bob", PASSWORD)
    accounts.disable("bob")

    found = revisions.changes(since=-1)

    assert found is not None
    assert found[1] == {"anna": anna.revision}


def test_a_connection_that_was_lost_is_opened_again(
    accounts: Accounts, revisions: UserRevisions, database_url: str, connect: Callable[[str], Database]
) -> None:
    anna = accounts.add("anna", PASSWORD)
    assert revisions.changes(since=-1)
    if database_url.startswith("postgresql"):
        with connect(database_url).writing() as session:
            session.connection().exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database()"
            )

    assert revisions.changes(since=-1) == (anna.revision, {"anna": anna.revision})


def test_a_server_that_is_not_there_is_down() -> None:
    nobody = UserRevisions(PostgresqlServer({"host": "127.0.0.1", "port": "1", "connect_timeout": "2"}))

    with pytest.raises(DatabaseDownError, match="refused"):
        nobody.changes(since=-1)
    assert not nobody.are_ready()


def told(location: SqliteFile | PostgresqlServer) -> dict[str, str]:
    """Give what the URL says of a server, without what is added to every URL."""
    assert isinstance(location, PostgresqlServer)
    added = parse("postgresql://")
    assert isinstance(added, PostgresqlServer)
    return dict(location.arguments.items() - added.arguments.items())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such option")
def test_a_server_that_vanishes_is_given_up_in_seconds(postgres: "Postgres") -> None:
    location = parse(postgres.empty())
    assert isinstance(location, PostgresqlServer)
    arguments: dict[str, Any] = dict(location.arguments)

    with psycopg.connect(**arguments) as connection, socket.socket(fileno=os.dup(connection.fileno())) as opened:
        waits = [opened.getsockopt(socket.IPPROTO_TCP, each) for each in (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE)]

    assert waits == [10_000, 5]


def test_special_characters_of_a_url_are_percent_encoded() -> None:
    location = parse("postgresql://anna:p%40ss%2F@[::1]:5433/my%20users?sslmode=require&connect_timeout=9")

    assert told(location) == {
        "host": "::1",
        "port": "5433",
        "user": "anna",
        "password": "p@ss/",
        "dbname": "my users",
        "sslmode": "require",
        "connect_timeout": "9",
    }
    assert "p@ss" not in str(location)


def test_a_missing_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(DatabaseUrlError, match=r"requirements/postgres\.txt"):
        parse("postgresql://anna@one/users")


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("postgresql:///users?host=/var/run/Pg", {"host": "/var/run/Pg", "dbname": "users"}),
        ("postgresql://%2Fvar%2Frun%2FPg/users", {"host": "/var/run/Pg", "dbname": "users"}),
        ("postgresql://one:1,two:2/users", {"host": "one,two", "port": "1,2", "dbname": "users"}),
        ("postgresql://anna:#1?@one", {"host": "one", "user": "anna", "password": "#1?"}),
    ],
)
def test_a_url_may_say_all_that_libpq_knows(url: str, arguments: dict[str, str]) -> None:
    assert told(parse(url)) == arguments


def test_a_file_may_have_any_name_but_for_a_question_mark(tmp_path: Path) -> None:
    odd = tmp_path / "a b#c%20d.db"
    Accounts(Database(f"sqlite:///{odd}"), passwords=None).migrate()  # type: ignore[arg-type]  # no password is hashed

    assert UserRevisions(SqliteFile(odd)).changes(since=-1) == (0, {})


def test_a_start_over_a_ready_database_imports_no_sqlalchemy() -> None:
    program = "import sys, service.app; sys.exit('sqlalchemy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_login_imports_no_sqlalchemy(sqlite_accounts: Accounts) -> None:
    sqlite_accounts.add("anna", PASSWORD)
    environment = {
        "SECRET_KEY": "x" * 32,
        "DATABASE_URL": sqlite_accounts.where,
        # Those of the stored hash, which would otherwise be renewed.
        "ARGON2_TIME_COST": "1",
        "ARGON2_MEMORY_KIB": "8",
        "ARGON2_PARALLELISM": "1",
    }
    environment |= {"ENV_FILE": "/dev/null", "PATH": os.environ["PATH"]}
    program = f"""
import asyncio, sys
from service.auth.access import Access
from service.settings import Settings

async def log_in():
    access = Access(Settings.load())
    await access.start()
    grant = await access.logins.token("anna", {PASSWORD!r}, "", "127.0.0.1")
    await access.stop()
    return access.tokens.authenticate(b"Bearer " + grant.token.encode(), "predict").username

sys.exit(asyncio.run(log_in()) != "anna" or "sqlalchemy" in sys.modules)
"""

    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0


def test_a_missing_table_of_feedback_takes_no_writes(
    accounts: Accounts, revisions: UserRevisions, database_url: str, connect: Callable[[str], Database]
) -> None:
    accounts.add("anna", PASSWORD)
    before = revisions.changes(since=-1)
    revisions.check_writes()
    assert revisions.changes(since=-1) == before
    with connect(database_url).writing() as session:
        session.connection().exec_driver_sql("DROP TABLE feedback")

    with pytest.raises(DatabaseDownError, match="feedback"):
        revisions.check_writes()
