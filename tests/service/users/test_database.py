"""The users database: made once by many, brought up to date, told when it is down."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command, config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from service.settings import Settings
from service.users.accounts import Accounts
from service.users.database import Database
from service.users.database_url import DatabaseDownError, DatabaseUrlError
from service.users.migrations import NEWEST
from service.users.passwords import Passwords
from service.users.rules import AccountError
from tests.service.conftest import log_in

Connect = Callable[[str], Database]
MakeSettings = Callable[..., Settings]
PASSWORD = "correct horse"


def test_no_password_stands_in_the_database(sqlite_accounts: Accounts, tmp_path: Path) -> None:
    sqlite_accounts.add("anna", PASSWORD)

    assert PASSWORD.encode() not in (tmp_path / "users.db").read_bytes()


def test_the_file_with_the_hashes_is_its_owners_alone(sqlite_accounts: Accounts, tmp_path: Path) -> None:
    assert (tmp_path / "users.db").stat().st_mode & 0o777 == 0o600


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


def test_a_first_admin_against_the_rules_leaves_nothing_half_done(
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
    database = connect(database_url)
    settings = config.Config()
    settings.set_main_option("script_location", "service.users:migrations")
    settings.set_main_option("path_separator", "os")

    with database.migrating() as session:
        settings.attributes["connection"] = session.connection()
        command.check(settings)


def test_the_newest_migration_is_the_one_named_so() -> None:
    settings = config.Config()
    settings.set_main_option("script_location", "service.users:migrations")
    settings.set_main_option("path_separator", "os")

    assert ScriptDirectory.from_config(settings).get_current_head() == NEWEST


def test_a_migration_can_be_taken_back_and_done_again(accounts: Accounts, database_url: str, connect: Connect) -> None:
    settings = config.Config()
    settings.set_main_option("script_location", "service.users:migrations")
    settings.set_main_option("path_separator", "os")
    with connect(database_url).migrating() as session:
        settings.attributes["connection"] = session.connection()
        command.downgrade(settings, "base")

    accounts.migrate()

    assert accounts.list() == []


def test_a_database_of_a_newer_version_is_refused_by_name(
    accounts: Accounts, database_url: str, connect: Connect
) -> None:
    with connect(database_url).writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseDownError, match="newer version of this service"):
        accounts.migrate()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://root:hunter22@localhost/users", "mysql"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("hunter22", "is no URL"),
        ("", "is no URL"),
        ("postgresql://anna:hunter22@host:port/users", "is no URL"),
        ("postgresql://anna:1/hunter22@host/users", "percent-encode"),
        ("postgresql://anna:x@hunter22@host/users", "percent-encode"),
        ("postgresql://anna:%hunter22@host/users", "percent-encode"),
        ("postgresql://anna:hunter22%ff@host/users", "percent-encode"),
        ("postgresql://anna:hunter22\udcff@host/users", "percent-encode"),
        ("postgresql://anna:hunter22@host:５４/users", "is no URL"),  # digits, yet none of ASCII
        ("postgresql://anna:hunter22@host/users?autocommit=1", "libpq's parameters"),
        ("postgresql://anna:hunter22@host:65536/users", "is no URL"),
        ("sqlite:///users.db?key=hunter22", "takes none"),
    ],
)
def test_a_url_that_names_no_usable_database_is_told_without_its_password(url: str, told: str) -> None:
    with pytest.raises(DatabaseUrlError, match=told) as caught:
        Database(url)

    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_is_taken_and_shown_without_its_password(scheme: str) -> None:
    database = Database(f"{scheme}://anna:hunter22@db.example.org/users")

    assert database.where == "postgresql://anna:***@db.example.org/users"


def test_a_relative_path_counts_from_the_repositorys_root(root: Path) -> None:
    assert Database("sqlite:///users.db").where == f"sqlite:///{root}/users.db"


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


def test_a_lock_held_too_long_is_told_as_down(
    sqlite_accounts: Accounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.users.database.BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(tmp_path / "users.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    with pytest.raises(DatabaseDownError, match="locked"):
        sqlite_accounts.add("anna", PASSWORD)
    holder.close()


def test_a_login_succeeds_though_the_hash_cannot_be_renewed(
    sqlite_accounts: Accounts, tmp_path: Path, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_accounts.add("anna", PASSWORD)
    monkeypatch.setattr("service.users.database.BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(tmp_path / "users.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    later = Accounts(Database(sqlite_accounts.where), Passwords(make_settings(argon2_time_cost=2)))
    assert log_in(later, "anna", PASSWORD) is not None
    holder.close()
