"""Users and the rules for them, on SQLite and PostgreSQL."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from service.settings import Settings
from service.users import accounts as module
from service.users.accounts import Accounts
from service.users.database import Account, Database
from service.users.passwords import Passwords
from service.users.rules import AccountError, UnknownUserError, UserExistsError, normalise

Connect = Callable[[str], Database]
MakeSettings = Callable[..., Settings]
PASSWORD = "correct horse"


def test_a_user_is_kept_as_added_and_logs_in_with_the_password_and_no_other(accounts: Accounts) -> None:
    added = [accounts.add("anna", PASSWORD, ["admin", "predict"]), accounts.add("bob", PASSWORD)]

    assert accounts.list() == added
    assert [(sorted(each.scopes), each.disabled) for each in added] == [
        (["admin", "predict"], False),
        (["predict"], False),
    ]
    assert accounts.check("anna", PASSWORD) == added[0]
    assert accounts.check("anna", PASSWORD + "s") is None


def test_one_name_is_one_user_however_it_is_spelled(accounts: Accounts) -> None:
    accounts.add("Ａnna", PASSWORD)

    with pytest.raises(UserExistsError, match="'anna' exists already"):
        accounts.add("ANNA", PASSWORD)
    assert accounts.check("Anna", PASSWORD) is not None


@pytest.mark.parametrize("name", ["", "a b", "a\0b", "a\nb", "a\u200bb", "\u202eanna", "x" * 65, "x" * 10**6, "\ud800"])
def test_a_name_that_cannot_be_typed_or_shown_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(AccountError, match="a user name has"):
        accounts.add(name, PASSWORD)
    assert accounts.check(name, PASSWORD) is None
    with pytest.raises(UnknownUserError):
        accounts.remove(name)


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
    assert sqlite_accounts.check("anna-long", PASSWORD) is not None


def test_disabling_a_new_password_and_removal_take_effect_at_the_next_login(accounts: Accounts) -> None:
    accounts.add("anna", PASSWORD)

    accounts.disable("anna")
    assert accounts.check("anna", PASSWORD) is None
    accounts.enable("anna")
    assert accounts.check("anna", PASSWORD) is not None
    accounts.set_password("anna", "another horse")
    assert accounts.check("anna", PASSWORD) is None
    assert accounts.check("anna", "another horse") is not None
    accounts.remove("anna")
    assert accounts.check("anna", "another horse") is None
    assert accounts.list() == []


@pytest.mark.parametrize("method", ["disable", "remove"])
def test_the_last_admin_stays_unless_forced(accounts: Accounts, method: str) -> None:
    for name, scopes in {"anna": ["admin"], "bob": ["predict"], "carl": ["admin"]}.items():
        accounts.add(name, PASSWORD, scopes)

    getattr(accounts, method)("carl")
    with pytest.raises(AccountError, match="'anna' is the last admin"):
        getattr(accounts, method)("anna")
    getattr(accounts, method)("anna", force=True)


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


def test_only_what_ends_tokens_moves_the_revision(accounts: Accounts) -> None:
    def anna() -> int:
        return accounts.list()[0].revision

    seen = [accounts.add("anna", PASSWORD).revision]
    accounts.add("bob", PASSWORD)
    accounts.enable("anna")  # who isn't disabled
    assert anna() == seen[0]

    accounts.set_password("anna", "another horse")
    seen.append(anna())
    accounts.disable("anna")
    seen.append(anna())
    accounts.enable("anna")
    seen.append(anna())
    accounts.remove("anna")
    seen.append(accounts.add("anna", PASSWORD).revision)

    assert seen == sorted(set(seen))


def test_a_new_database_repeats_no_revision_of_the_old_one(sqlite_accounts: Accounts, tmp_path: Path) -> None:
    before = sqlite_accounts.add("anna", PASSWORD).revision
    (tmp_path / "users.db").unlink()
    sqlite_accounts.prepare()

    assert sqlite_accounts.add("anna", PASSWORD).revision > before


def test_only_a_right_password_renews_a_hash_with_old_parameters(
    database_url: str, connect: Connect, make_settings: MakeSettings
) -> None:
    database = connect(database_url)
    before, after = (Accounts(database, Passwords(make_settings(argon2_time_cost=cost))) for cost in (1, 2))
    before.prepare()
    revision = before.add("anna", PASSWORD).revision

    def stored() -> str:
        with database.reading() as session:
            return str(session.scalar(select(Account.password_hash)))

    after.check("anna", "wrong horse")
    assert "t=1" in stored()
    after.check("anna", PASSWORD)
    assert "t=2" in stored()
    assert [each.revision for each in before.list()] == [revision]
    assert before.check("anna", PASSWORD) is not None


def test_a_password_changed_while_the_old_hash_is_renewed_stays(
    sqlite_accounts: Accounts, sqlite_url: str, connect: Connect, make_settings: MakeSettings
) -> None:
    sqlite_accounts.add("anna", PASSWORD)
    renewing = Passwords(make_settings(argon2_time_cost=2))
    is_outdated = renewing.is_outdated

    def change_meanwhile(stored: str) -> bool:
        sqlite_accounts.set_password("anna", "another horse")
        return is_outdated(stored)

    renewing.is_outdated = change_meanwhile  # type: ignore[method-assign]  # the moment between check and renewal
    Accounts(connect(sqlite_url), renewing).check("anna", PASSWORD)

    assert sqlite_accounts.check("anna", "another horse") is not None
