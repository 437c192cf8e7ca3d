"""Tokens that are remembered: until when, how many, and what one costs."""

import sys
import time
import timeit
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any, Self

import pytest

from service.auth import tokens as module
from service.auth.revocations import Revocations
from service.auth.tokens import Tokens
from service.settings import Settings
from tests.service.signing import bearer, refused, signed

MakeSettings = Callable[..., Settings]


def set_clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Set the clock of the service and that of the library which checks tokens."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(now, tz)

    monkeypatch.setattr("service.auth.tokens.time.time", lambda: now)
    monkeypatch.setattr("jwt.api_jwt.datetime", Clock)


def test_a_remembered_token_ends_when_its_user_is_revoked(tokens: Tokens, revocations: Revocations) -> None:
    authorization = bearer(tokens.issue("anna", ["predict"], 5)[0])
    tokens.authenticate(authorization, "predict")

    revocations.update(6, {"anna": 6})

    assert "revoked" in refused(tokens, authorization).detail


def test_the_tokens_of_others_go_on(tokens: Tokens, revocations: Revocations) -> None:
    authorization = bearer(tokens.issue("anna", ["predict"], 5)[0])
    tokens.authenticate(authorization, "predict")

    revocations.update(9, {"anna": 5, "bob": 9})

    assert tokens.authenticate(authorization, "predict").username == "anna"


def test_a_token_newer_than_this_workers_knowledge_is_accepted(tokens: Tokens) -> None:
    # The user changed the password and logged in at another worker, all since the last refresh.
    assert tokens.authenticate(bearer(tokens.issue("anna", ["predict"], 6)[0]), "predict").revision == 6


def test_a_user_removed_and_added_anew_has_no_claim_to_the_old_tokens(tokens: Tokens, revocations: Revocations) -> None:
    authorization = bearer(tokens.issue("anna", ["predict"], 5)[0])

    revocations.update(7, {"anna": 7})

    assert refused(tokens, authorization).status == 401


def test_before_the_database_was_read_nobody_is_let_in(make_settings: MakeSettings) -> None:
    problem = refused(Tokens(make_settings(), Revocations()), signed())

    assert problem.status == 503
    assert problem.headers["Retry-After"] == "2"


def test_a_remembered_token_expires(make_settings: MakeSettings, revocations: Revocations, monkeypatch: Any) -> None:
    tokens = Tokens(make_settings(token_lifetime_seconds=60), revocations)
    authorization = bearer(tokens.issue("anna", ["predict"], 5)[0])
    tokens.authenticate(authorization, "predict")
    now, running = time.time(), time.monotonic()

    set_clock(monkeypatch, now + 61)
    monkeypatch.setattr("service.auth.tokens.time.monotonic", lambda: running + 61)

    assert "expired" in refused(tokens, authorization).detail


def test_a_clock_set_back_prolongs_no_remembered_token(
    make_settings: MakeSettings, revocations: Revocations, monkeypatch: Any
) -> None:
    tokens = Tokens(make_settings(token_lifetime_seconds=60), revocations)
    authorization = bearer(tokens.issue("anna", ["predict"], 5)[0])
    tokens.authenticate(authorization, "predict")
    now, running = time.time(), time.monotonic()

    set_clock(monkeypatch, now - 3600)
    monkeypatch.setattr("service.auth.tokens.time.monotonic", lambda: running + 61)

    assert refused(tokens, authorization).status == 401


@pytest.mark.parametrize("seconds", [86_400, -3600])
def test_a_clock_set_far_ends_remembered_tokens_as_it_does_others(
    make_settings: MakeSettings, revocations: Revocations, monkeypatch: Any, seconds: float
) -> None:
    tokens, others = (Tokens(make_settings(), revocations) for _ in range(2))
    authorization = bearer(tokens.issue("anna", ["predict"], 5)[0])
    tokens.authenticate(authorization, "predict")
    now = time.time()

    set_clock(monkeypatch, now + seconds)

    assert refused(tokens, authorization).status == refused(others, authorization).status == 401


def test_remembered_tokens_are_bounded_and_the_oldest_goes_first(tokens: Tokens, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    sent = [bearer(tokens.issue("anna", ["predict"], 5)[0]) for _ in range(5)]
    for authorization in sent:
        tokens.authenticate(authorization, "predict")

    assert list(tokens._remembered) == sent[2:]


def test_a_token_that_is_refused_is_not_remembered(tokens: Tokens) -> None:
    for number in range(100):
        refused(tokens, b"Bearer " + str(number).encode())

    assert tokens._remembered == {}


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer's own cost would be measured")
def test_a_remembered_token_costs_less_than_two_microseconds(tokens: Tokens) -> None:
    authorization = bearer(tokens.issue("anna", ["predict"], 5)[0])
    tokens.authenticate(authorization, "predict")

    # A header comes as new bytes each time, so their hash is computed each time.
    seconds = min(
        timeit.repeat(lambda: tokens.authenticate(bytes([*authorization[:0]]) + authorization, "predict"), number=2000)
    )

    assert seconds / 2000 < 2e-6
