"""Passwords: hashed by Argon2id, bounded, renewed."""

import logging
import statistics
import time
import unicodedata
from collections.abc import Callable

import pytest

from service.settings import Settings
from service.users.passwords import Passwords
from service.users.rules import MAX_BYTES

MakeSettings = Callable[..., Settings]


@pytest.fixture
def passwords(make_settings: MakeSettings) -> Passwords:
    return Passwords(make_settings())


def test_letters_composed_differently_are_the_same_password(passwords: Passwords) -> None:
    stored = passwords.hash(unicodedata.normalize("NFD", "Übergröße"))

    assert passwords.verify(stored, unicodedata.normalize("NFC", "Übergröße"))


def test_a_password_too_long_is_not_cut_to_one_that_fits(passwords: Passwords) -> None:
    assert not passwords.verify(passwords.hash("x" * MAX_BYTES), "x" * (MAX_BYTES + 1))
    assert not passwords.verify(passwords.hash(""), "x" * (MAX_BYTES + 1))


def test_an_unreadable_hash_matches_nothing_and_is_reported(
    passwords: Passwords, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not passwords.verify("no hash", "correct horse")

    assert "set a new password for that user" in caplog.text


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
