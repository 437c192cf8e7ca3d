"""The users database: made once by several processes, migrated, reported when it is down."""

import contextlib
import os
import socket
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command, config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.orm import Session

from service.auth.watch import check_writes, read_snapshot
from service.settings import Settings
from service.users.accounts import Accounts, ApiKeys
from service.users.database import Database, DatabaseDownError, DatabaseUrlError
from service.users.migrations import NEWEST
from service.users.passwords import Passwords
from service.users.rules import AccountError

if TYPE_CHECKING:
    from tests.service.conftest import Postgres

Connect = Callable[[str], Database]
MakeSettings = Callable[..., Settings]
PASSWORD = "correct horse"


def alembic(session: Session) -> config.Config:
    settings = config.Config()
    settings.set_main_option("script_location", "service.users:migrations")
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = session.connection()
    return settings


def test_the_file_is_its_owners_alone_and_holds_neither_password_nor_key(
    sqlite_accounts: Accounts, sqlite_url: str, connect: Connect, tmp_path: Path
) -> None:
    sqlite_accounts.add("anna", PASSWORD)
    key, _ = ApiKeys(connect(sqlite_url)).add("nightly", ["predict"], None)
    file = tmp_path / "users.db"

    assert file.stat().st_mode & 0o777 == 0o600
    assert not [secret for secret in (PASSWORD, key) if secret.encode() in file.read_bytes()]


def test_many_processes_that_start_at_once_make_one_admin(
    database_url: str, connect: Connect, make_settings: MakeSettings
) -> None:
    def start(_: int) -> bool:
        return Accounts(connect(database_url), Passwords(make_settings())).prepare("anna", PASSWORD)

    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(start, range(8)))

    assert sorted(added) == [False] * 7 + [True]
    listed = Accounts(connect(database_url), Passwords(make_settings())).list()
    assert [(each.username, each.scopes) for each in listed] == [("anna", frozenset({"predict", "admin"}))]


def test_an_invalid_first_admin_leaves_nothing_half_done(
    database_url: str, connect: Connect, make_settings: MakeSettings
) -> None:
    accounts = Accounts(connect(database_url), Passwords(make_settings()))

    with pytest.raises(AccountError, match="at least 8 characters"):
        accounts.prepare("anna", "short")
    with pytest.raises(DatabaseDownError, match=r"no such table|does not exist"):
        accounts.list()
    assert accounts.prepare("anna", PASSWORD)


def test_no_admin_is_added_where_there_are_users(accounts: Accounts) -> None:
    accounts.add("bob", PASSWORD)

    assert not accounts.prepare("anna", PASSWORD)
    assert [each.username for each in accounts.list()] == ["bob"]


def test_the_migrations_give_the_tables_that_the_code_uses(database_url: str, connect: Connect) -> None:
    with connect(database_url).migrating() as session:
        settings = alembic(session)
        command.check(settings)
        assert ScriptDirectory.from_config(settings).get_current_head() == NEWEST


def test_a_store_of_an_earlier_version_is_upgraded_and_keeps_its_users(
    database_url: str, connect: Connect, make_settings: MakeSettings
) -> None:
    database = connect(database_url)
    accounts = Accounts(database, Passwords(make_settings()))
    if database_url.startswith("sqlite"):
        Path(database_url.removeprefix("sqlite:///")).touch()
    with database.writing() as session:
        command.upgrade(alembic(session), "0002")
        session.execute(text("INSERT INTO users VALUES ('anna', '', 'predict', FALSE, 5, '2026-01-02 03:04:05')"))

    accounts.prepare("bob", PASSWORD)

    assert [(each.username, each.revision) for each in accounts.list()] == [("anna", 5)]
    assert ApiKeys(database).list() == []


def test_a_database_of_a_newer_version_is_refused_by_name(
    accounts: Accounts, database_url: str, connect: Connect
) -> None:
    with connect(database_url).writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseDownError, match="newer version of this service"):
        accounts.prepare()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://root:hunter22@localhost/users", "unknown kind of database"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///users.db?key=hunter22", "names no file"),
        ("hunter22", "is no URL"),
        ("", "is no URL"),
        ("postgresql://anna:hunter22@host:port/users", "is no URL"),
        ("postgresql://anna:x@hunter22@host/users", "percent-encoded"),
    ],
)
def test_a_url_that_names_no_usable_database_is_refused_without_its_password(url: str, expected: str) -> None:
    with pytest.raises(DatabaseUrlError, match=expected) as caught:
        Database(url)

    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_is_taken_and_shown_without_its_password(scheme: str) -> None:
    with pytest.raises(DatabaseDownError, match=r"postgresql://anna:\*\*\*@127.0.0.1:1/users: .*refused"):
        read_snapshot(Database(f"{scheme}://anna:hunter22@127.0.0.1:1/users?connect_timeout=2"))


def test_a_relative_path_counts_from_the_repositorys_root(root: Path) -> None:
    with pytest.raises(DatabaseDownError, match=f"sqlite:///{root}/nowhere/users.db"):
        read_snapshot(Database("sqlite:///nowhere/users.db"))


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_file_that_is_no_users_database_is_down(sqlite_accounts: Accounts, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "users.db").write_bytes(content)

    with pytest.raises(DatabaseDownError):
        sqlite_accounts.list()


def test_a_file_that_was_moved_away_is_noticed_and_not_replaced(sqlite_accounts: Accounts, tmp_path: Path) -> None:
    (tmp_path / "users.db").rename(tmp_path / "elsewhere.db")

    with pytest.raises(DatabaseDownError, match="unable to open"):
        sqlite_accounts.list()
    assert not (tmp_path / "users.db").exists()


def test_a_lock_held_too_long_is_reported_as_down(
    sqlite_accounts: Accounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.users.database.BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(tmp_path / "users.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    with pytest.raises(DatabaseDownError, match="locked"):
        sqlite_accounts.add("anna", PASSWORD)
    holder.close()


def test_a_login_succeeds_though_the_hash_cannot_be_renewed(
    sqlite_accounts: Accounts,
    sqlite_url: str,
    tmp_path: Path,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sqlite_accounts.add("anna", PASSWORD)
    monkeypatch.setattr("service.users.database.BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(tmp_path / "users.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    later = Accounts(Database(sqlite_url), Passwords(make_settings(argon2_time_cost=2)))
    assert later.check("anna", PASSWORD) is not None
    holder.close()


def test_a_missing_driver_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(DatabaseUrlError, match=r"requirements/postgres\.txt"):
        Database("postgresql://anna@one/users")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such option")
def test_a_server_that_vanishes_is_given_up_in_seconds(postgres: "Postgres", connect: Connect) -> None:
    with connect(postgres.empty()).reading() as session:
        server: Any = session.connection().connection.driver_connection
        with socket.socket(fileno=os.dup(server.fileno())) as opened:
            options = (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE)
            waits = [opened.getsockopt(socket.IPPROTO_TCP, each) for each in options]

    assert waits == [10_000, 5]


def test_a_file_may_have_blanks_and_marks_in_its_name(tmp_path: Path, connect: Connect) -> None:
    database = connect(f"sqlite:///{tmp_path / 'a b#c.db'}")
    with database.migrating():
        pass

    assert (tmp_path / "a b#c.db").exists()


@pytest.mark.parametrize("allowed", [1, 3])
def test_a_worker_that_needs_more_connections_than_it_may_have_names_the_setting(
    postgres: "Postgres", make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    monkeypatch.setattr("service.users.database.BUSY_SECONDS", 0.05)
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(contextlib.closing(Database(postgres.empty(), allowed)))
        for _ in range(allowed):
            stack.enter_context(database.reading()).connection()

        with pytest.raises(DatabaseDownError, match="are in use; raise DATABASE_CONNECTIONS"):
            Accounts(database, Passwords(make_settings())).list()


def test_a_server_that_refuses_a_connection_for_their_number_is_reported_with_what_to_do(
    postgres: "Postgres", connect: Connect, make_settings: MakeSettings
) -> None:
    superuser = connect(postgres.empty())
    with superuser.writing() as session:
        session.execute(text("DROP ROLE IF EXISTS few"))
        session.execute(text("CREATE ROLE few LOGIN CONNECTION LIMIT 1"))
    url = f"postgresql://few@127.0.0.1:{postgres.port}/postgres"
    with connect(url).reading() as session:
        session.connection()

        with pytest.raises(DatabaseDownError, match=r"too many connections .*; lower DATABASE_CONNECTIONS, run fewer"):
            Accounts(connect(url), Passwords(make_settings())).list()


def test_a_worker_reads_users_and_keys_when_something_changed(
    accounts: Accounts, database_url: str, connect: Connect
) -> None:
    database = connect(database_url)
    anna = accounts.add("anna", PASSWORD)
    accounts.disable(accounts.add("bob", PASSWORD).username)
    ApiKeys(database).add("nightly", ["predict"], None)

    snapshot = read_snapshot(database)

    assert snapshot is not None
    assert snapshot.users == {anna.revision}
    assert [*snapshot.keys.values()] == ApiKeys(database).list()
    assert read_snapshot(database, snapshot) is None


def test_a_lost_connection_is_opened_again(accounts: Accounts, database_url: str, connect: Connect) -> None:
    anna = accounts.add("anna", PASSWORD)
    if database_url.startswith("postgresql"):
        with connect(database_url).writing() as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    " AND datname = current_database()"
                )
            )

    assert accounts.list() == [anna]


def test_the_check_of_writes_changes_nothing_and_misses_no_table(
    accounts: Accounts, database_url: str, connect: Connect
) -> None:
    database = connect(database_url)
    accounts.add("anna", PASSWORD)
    before = read_snapshot(database)
    for _ in range(2):
        check_writes(database)
    assert read_snapshot(database) == before
    with database.writing() as session:
        session.execute(text("DROP TABLE feedback"))

    with pytest.raises(DatabaseDownError, match="feedback"):
        check_writes(database)
