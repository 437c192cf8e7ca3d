"""Users and the rules for them, on SQLite and PostgreSQL."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from service.settings import Settings
from service.users import accounts as module
from service.users.accounts import Accounts
from service.users.database import Database
from service.users.passwords import Passwords
from service.users.revisions import UserRevisions
from service.users.rules import AccountError, UnknownUserError, UserExistsError, normalise
from tests.service.conftest import log_in

Connect = Callable[[str], Database]
MakeSettings = Callable[..., Settings]
PASSWORD = "correct horse"


@pytest.fixture
def revisions(database_url: str, read_revisions: Callable[[str], UserRevisions]) -> UserRevisions:
    return read_revisions(database_url)


def current(revisions: UserRevisions) -> dict[str, int]:
    changes = revisions.changes(since=-1)
    assert changes is not None
    return changes[1]


def test_a_user_logs_in_with_the_password_and_no_other(accounts: Accounts) -> None:
    added = accounts.add("anna", PASSWORD, ["predict", "admin"])

    assert log_in(accounts, "anna", PASSWORD) == added
    assert log_in(accounts, "anna", PASSWORD + "s") is None


def test_a_user_is_kept_as_added(accounts: Accounts) -> None:
    accounts.add("bob", PASSWORD)
    accounts.add("anna", PASSWORD, ["admin", "predict"])

    listed = [(each.username, each.scopes, each.disabled) for each in accounts.list()]
    assert listed == [("anna", frozenset({"predict", "admin"}), False), ("bob", frozenset({"predict"}), False)]


def test_one_name_is_one_user_however_it_is_spelled(accounts: Accounts) -> None:
    accounts.add("Ａnna", PASSWORD)

    with pytest.raises(UserExistsError, match="'anna' exists already"):
        accounts.add("ANNA", PASSWORD)
    assert log_in(accounts, "Anna", PASSWORD) is not None


@pytest.mark.parametrize("name", ["", "a b", "a\0b", "a\nb", "a\u200bb", "\u202eanna", "x" * 65, "x" * 10**6, "\ud800"])
def test_a_name_that_cannot_be_typed_or_shown_is_refused(sqlite_accounts: Accounts, name: str) -> None:
    with pytest.raises(AccountError, match="a user name has"):
        sqlite_accounts.add(name, PASSWORD)
    assert log_in(sqlite_accounts, name, PASSWORD) is None


@given(st.text(max_size=80))
def test_a_normalised_name_is_its_own_normal_form(name: str) -> None:
    try:
        normal = normalise(name)
    except AccountError:
        return

    assert normalise(normal) == normal
    assert 1 <= len(normal) <= 64


@pytest.mark.parametrize("password", ["short", "", "x" * 12, "anna-long", "x" * 500 + "ü" * 500, "passwor\ud800d"])
def test_a_password_against_the_rules_is_refused(sqlite_accounts: Accounts, password: str) -> None:
    sqlite_accounts.add("anna-long", PASSWORD)

    with pytest.raises(AccountError, match="a password "):
        sqlite_accounts.set_password("Anna-Long", password)
    assert log_in(sqlite_accounts, "anna-long", PASSWORD) is not None


@pytest.mark.parametrize("scopes", [[], ["root"], ["predict", "predict admin"]])
def test_unknown_scopes_are_refused(sqlite_accounts: Accounts, scopes: list[str]) -> None:
    with pytest.raises(AccountError, match="scopes are predict and admin"):
        sqlite_accounts.add("anna", PASSWORD, scopes)


def test_a_disabled_user_cannot_log_in_until_enabled(accounts: Accounts) -> None:
    accounts.add("anna", PASSWORD)

    accounts.disable("anna")
    assert log_in(accounts, "anna", PASSWORD) is None
    accounts.enable("anna")
    assert log_in(accounts, "anna", PASSWORD) is not None


def test_a_new_password_replaces_the_old(accounts: Accounts) -> None:
    accounts.add("anna", PASSWORD)

    accounts.set_password("anna", "another horse")

    assert log_in(accounts, "anna", PASSWORD) is None
    assert log_in(accounts, "anna", "another horse") is not None


def test_a_removed_user_is_gone(accounts: Accounts) -> None:
    accounts.add("anna", PASSWORD)

    accounts.remove("anna")

    assert log_in(accounts, "anna", PASSWORD) is None
    assert accounts.list() == []


@pytest.mark.parametrize("method", ["disable", "enable", "remove"])
def test_an_unknown_user_is_told(accounts: Accounts, method: str) -> None:
    with pytest.raises(UnknownUserError, match="no user 'nobody'"):
        getattr(accounts, method)("nobody")


@pytest.mark.parametrize("method", ["disable", "remove"])
def test_the_last_admin_stays_unless_forced(accounts: Accounts, method: str) -> None:
    accounts.add("anna", PASSWORD, ["admin"])
    accounts.add("bob", PASSWORD)

    with pytest.raises(AccountError, match="'anna' is the last admin"):
        getattr(accounts, method)("anna")
    getattr(accounts, method)("anna", force=True)


@pytest.mark.parametrize("method", ["disable", "remove"])
def test_an_admin_who_is_not_the_last_may_go(accounts: Accounts, method: str) -> None:
    accounts.add("anna", PASSWORD, ["admin"])
    accounts.add("bob", PASSWORD, ["admin"])

    getattr(accounts, method)("anna")


def test_two_admins_removed_at_the_same_time_leave_one(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    check = module._keep_an_admin

    def check_slowly(*user: Any, force: bool) -> None:
        check(*user, force=force)
        time.sleep(0.1)  # time enough for the other one to check too, if it were not kept waiting

    monkeypatch.setattr(module, "_keep_an_admin", check_slowly)
    for name in ("anna", "bob"):
        accounts.add(name, PASSWORD, ["admin"])

    def remove(name: str) -> bool:
        try:
            accounts.remove(name)
        except AccountError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(remove, ("anna", "bob"))) == [False, True]


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts: accounts.disable("anna"),
        lambda accounts: accounts.set_password("anna", "another horse"),
        lambda accounts: accounts.remove("anna"),
    ],
    ids=["disable", "passwd", "remove"],
)
def test_what_ends_tokens_moves_the_revision(
    accounts: Accounts, change: Callable[[Accounts], None], revisions: UserRevisions
) -> None:
    before = accounts.add("anna", PASSWORD).revision
    accounts.add("bob", PASSWORD)

    change(accounts)

    assert current(revisions).get("anna") != before


def test_enabling_a_user_who_is_not_disabled_ends_no_tokens(accounts: Accounts, revisions: UserRevisions) -> None:
    before = accounts.add("anna", PASSWORD).revision

    accounts.enable("anna")

    assert current(revisions)["anna"] == before


def test_a_user_added_anew_or_enabled_has_a_revision_never_used_before(
    accounts: Accounts, revisions: UserRevisions
) -> None:
    seen = [accounts.add("anna", PASSWORD).revision]
    accounts.remove("anna")
    seen.append(accounts.add("anna", PASSWORD).revision)
    accounts.disable("anna")
    accounts.enable("anna")
    seen.append(current(revisions)["anna"])

    assert seen == sorted(set(seen))


def test_a_database_made_anew_repeats_no_revision_of_the_one_before(sqlite_accounts: Accounts, tmp_path: Path) -> None:
    before = sqlite_accounts.add("anna", PASSWORD).revision
    (tmp_path / "users.db").unlink()
    sqlite_accounts.migrate()

    assert sqlite_accounts.add("anna", PASSWORD).revision > before


def test_nothing_is_read_when_nothing_changed(accounts: Accounts, revisions: UserRevisions) -> None:
    revision = accounts.add("anna", PASSWORD).revision

    assert revisions.changes(since=revision) is None
    assert revisions.changes(since=revision - 1) == (revision, {"anna": revision})


def test_a_hash_with_old_parameters_is_renewed_at_login(
    database_url: str, connect: Connect, make_settings: MakeSettings, revisions: UserRevisions
) -> None:
    database = connect(database_url)
    before = Accounts(database, Passwords(make_settings()))
    before.migrate()
    revision = before.add("anna", PASSWORD).revision

    log_in(Accounts(database, Passwords(make_settings(argon2_time_cost=2))), "anna", PASSWORD)

    with database.reading() as session:
        stored = session.scalar(text("SELECT password_hash FROM users"))
    assert "t=2" in stored
    assert current(revisions)["anna"] == revision
    assert log_in(before, "anna", PASSWORD) is not None


def test_a_password_changed_while_the_old_hash_is_renewed_stays(
    sqlite_accounts: Accounts, connect: Connect, make_settings: MakeSettings
) -> None:
    sqlite_accounts.add("anna", PASSWORD)
    renewing = Passwords(make_settings(argon2_time_cost=2))
    is_outdated = renewing.is_outdated

    def change_meanwhile(stored: str) -> bool:
        sqlite_accounts.set_password("anna", "another horse")
        return is_outdated(stored)

    renewing.is_outdated = change_meanwhile  # type: ignore[method-assign]  # the moment between check and renewal
    log_in(Accounts(connect(sqlite_accounts.where), renewing), "anna", PASSWORD)

    assert log_in(sqlite_accounts, "anna", "another horse") is not None


def test_a_wrong_password_renews_nothing(database_url: str, connect: Connect, make_settings: MakeSettings) -> None:
    database = connect(database_url)
    before = Accounts(database, Passwords(make_settings()))
    before.migrate()
    before.add("anna", PASSWORD)

    log_in(Accounts(database, Passwords(make_settings(argon2_time_cost=2))), "anna", "wrong horse")

    with database.reading() as session:
        assert "t=1" in session.scalar(text("SELECT password_hash FROM users"))


@pytest.mark.parametrize("name", ["a\0b", "\0", "x" * 10_000, "\ud800"])
def test_a_name_that_no_database_can_hold_is_nobody_s(accounts: Accounts, name: str) -> None:
    assert log_in(accounts, name, PASSWORD) is None
    with pytest.raises(UnknownUserError):
        accounts.remove(name)
