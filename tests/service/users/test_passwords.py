"""Passwords: hashed by Argon2id, bounded, renewed."""

import logging
import statistics
import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.settings import Settings
from service.users.passwords import MAX_BYTES, Passwords, encode

MakeSettings = Callable[..., Settings]


@pytest.fixture
def passwords(make_settings: MakeSettings) -> Passwords:
    return Passwords(make_settings())


def test_a_password_is_hashed_by_argon2id_with_the_parameters_set(make_settings: MakeSettings) -> None:
    hashed = Passwords(make_settings(argon2_time_cost=2, argon2_memory_kib=64)).hash("correct horse")

    assert hashed.startswith("$argon2id$v=19$m=64,t=2,p=1$")


@given(password=st.text(max_size=60), other=st.text(max_size=60))
def test_a_hash_verifies_its_password_and_no_other(password: str, other: str) -> None:
    passwords = Passwords(
        Settings.model_validate({"secret_key": "s" * 32, "argon2_time_cost": 1, "argon2_memory_kib": 8})
    )
    if encode(password) is None:
        return
    stored = passwords.hash(password)

    assert passwords.verify(stored, password)
    assert passwords.verify(stored, other) == (encode(other) == encode(password))


def test_letters_composed_differently_are_the_same_password(passwords: Passwords) -> None:
    stored = passwords.hash(unicodedata.normalize("NFD", "Übergröße"))

    assert passwords.verify(stored, unicodedata.normalize("NFC", "Übergröße"))


@pytest.mark.parametrize("password", ["x" * (MAX_BYTES + 1), "ü" * MAX_BYTES, "x" * 10_000_000, "\ud800"])
def test_a_password_too_long_or_not_encodable_is_hashed_nowhere(passwords: Passwords, password: str) -> None:
    with pytest.raises(ValueError, match="1024 bytes"):
        passwords.hash(password)


def test_a_password_too_long_is_not_cut_to_one_that_fits(passwords: Passwords) -> None:
    assert not passwords.verify(passwords.hash("x" * MAX_BYTES), "x" * (MAX_BYTES + 1))
    assert not passwords.verify(passwords.hash(""), "x" * (MAX_BYTES + 1))


def test_a_hash_with_other_parameters_is_outdated(make_settings: MakeSettings, passwords: Passwords) -> None:
    stored = Passwords(make_settings(argon2_time_cost=2)).hash("correct horse")

    assert passwords.is_outdated(stored)
    assert not passwords.is_outdated(passwords.hash("correct horse"))


def test_an_unreadable_hash_matches_nothing_and_is_reported(
    passwords: Passwords, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not passwords.verify("no hash", "correct horse")

    assert "set that user's password anew" in caplog.text


def test_the_decoy_costs_as_much_as_a_users_hash(make_settings: MakeSettings) -> None:
    passwords = Passwords(make_settings(argon2_time_cost=4, argon2_memory_kib=4096))
    stored = passwords.hash("correct horse")
    spent: dict[str, list[float]] = {stored: [], passwords.decoy: []}

    for _ in range(15):
        for each, times in spent.items():
            start = time.thread_time()
            passwords.verify(each, "wrong horse")
            times.append(time.thread_time() - start)

    assert statistics.median(spent[passwords.decoy]) == pytest.approx(statistics.median(spent[stored]), rel=0.3)
