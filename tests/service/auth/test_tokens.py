"""Our own tokens: what they say, and which are accepted."""

import base64
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.auth.access import Access
from service.auth.watch import Snapshot
from service.settings import Settings
from tests.service.signing import SECRET, authenticated, bearer, encoded, refused, signed, thumbprint

OLD_SECRET = "an-older-secret-of-32-bytes-or-more-too"
MakeSettings = Callable[..., Settings]


@pytest.fixture
def token(access: Access) -> dict[bytes, bytes]:
    """Return a header with anna's token."""
    return bearer(access.tokens.issue("anna", ["predict"], 5)[0])


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def test_a_token_names_issuer_audience_subject_scopes_times_and_itself(make_settings: MakeSettings) -> None:
    tokens = Access(make_settings(token_lifetime_seconds=7)).tokens
    token, seconds = tokens.issue("anna", ["predict", "admin"], 5)
    claims = claims_of(token)

    assert claims.pop("exp") - claims.pop("iat") == seconds == 7
    assert claims.pop("jti") != claims_of(tokens.issue("anna", ["predict"], 5)[0])["jti"]
    named = {"iss": "reproducible-ml", "aud": "reproducible-ml"}
    assert claims == {**named, "sub": "anna", "scope": "admin predict", "rev": 5}


def test_a_token_identifies_its_user(access: Access, token: dict[bytes, bytes]) -> None:
    for headers in (token, token, signed(), {b"authorization": token[b"authorization"].replace(b"Bearer", b"bEARER")}):
        caller = authenticated(access, headers)
        assert (caller.name, caller.scopes) == ("anna", frozenset({"predict"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "someone-else"},
        {"aud": "something-else"},
        {"aud": ["something-else"]},
        *({"exp": value} for value in (1, "tomorrow", float("nan"), True, "9999999999")),
        *({"iat": value} for value in (10**12, "1")),
        {"nbf": 10**12},
        *({"sub": value} for value in (7, "")),
        {"scope": ["predict"]},
        *({"rev": value} for value in ("5", True, 5.5)),
        *({name: None} for name in ("iss", "aud", "exp", "iat", "jti", "sub", "scope", "rev")),
    ],
    ids=str,
)
def test_a_signed_token_with_wrong_or_missing_claims_is_refused(access: Access, changes: dict[str, Any]) -> None:
    assert refused(access, signed(**changes)).status == 401


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS512"},
        {"kid": "another"},
        {"kid": ["a"]},
        {"crit": ["exp"], "exp": 1},
        *({"alg": alg} for alg in ("none", "None", "RS256", "")),
    ],
    ids=str,
)
def test_a_token_with_another_algorithm_or_key_is_refused(
    access: Access, token: dict[bytes, bytes], header: dict[str, Any]
) -> None:
    payload = token[b"authorization"].split(b".")[1].decode()
    head = encoded(json.dumps({"alg": "HS256", "kid": thumbprint()} | header).encode())

    for signature in ("", "c2ln"):
        assert refused(access, bearer(f"{head}.{payload}.{signature}")).status == 401


@pytest.mark.parametrize(
    "headers", [signed({"alg": "HS512"}), signed({"kid": thumbprint()}, secret=OLD_SECRET), signed(secret=OLD_SECRET)]
)
def test_a_forged_token_is_refused(access: Access, headers: dict[bytes, bytes]) -> None:
    assert refused(access, headers).status == 401


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda junk: b"Bearer " + junk))
def test_no_header_whatsoever_gives_anything_but_a_401(access: Access, junk: bytes) -> None:
    for name in (b"authorization", b"x-api-key", b"cookie"):
        assert refused(access, {name: junk}).status == 401


@pytest.mark.parametrize("header", [b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"Bearer a b", b"a.b.c"])
def test_a_header_of_another_form_is_refused(access: Access, header: bytes) -> None:
    assert "isn't of the form" in refused(access, {b"authorization": header}).detail


def test_a_huge_token_is_refused_before_it_is_parsed(access: Access) -> None:
    huge = bearer("a" * 50_000_000 + ".a.a")
    start = time.perf_counter()

    assert refused(access, huge).detail == "The token is longer than 8192 bytes"
    assert time.perf_counter() - start < 1.0


def test_a_token_without_the_scope_is_forbidden_and_stays_so(access: Access, token: dict[bytes, bytes]) -> None:
    for _ in range(2):
        problem = refused(access, token, "admin")
        assert problem.status == 403
        assert problem.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'
    assert authenticated(access, token).name == "anna"


def test_a_token_of_the_previous_key_is_accepted_and_new_ones_are_signed_by_the_new(
    make_settings: MakeSettings, access: Access
) -> None:
    after = Access(make_settings(secret_key=OLD_SECRET, secret_key_previous=SECRET))
    after.watch.known = Snapshot(5, frozenset({5}))

    assert authenticated(after, bearer(access.tokens.issue("anna", ["predict"], 5)[0])).name == "anna"
    new = refused(access, bearer(after.tokens.issue("anna", ["predict"], 5)[0]))
    assert (new.status, new.detail) == (401, "The token wasn't signed by this service")


@pytest.mark.parametrize("users", [frozenset({6}), frozenset()], ids=str)
def test_a_token_ends_cached_or_not_when_its_user_is_revoked(
    access: Access, token: dict[bytes, bytes], users: frozenset[int]
) -> None:
    authenticated(access, token)

    access.watch.known = Snapshot(6, users)

    assert "revoked" in refused(access, token).detail
    assert "revoked" in refused(access, signed()).detail


def test_the_tokens_of_others_still_work(access: Access, token: dict[bytes, bytes]) -> None:
    access.watch.known = Snapshot(9, frozenset({5, 9}))

    assert authenticated(access, token).name == "anna"


def test_a_token_newer_than_this_workers_knowledge_is_accepted(access: Access) -> None:
    # The user changed the password and logged in at another worker, all since the last refresh.
    assert authenticated(access, signed(rev=6)).revision == 6


def test_nobody_gets_in_before_the_database_was_read(make_settings: MakeSettings) -> None:
    problem = refused(Access(make_settings()), signed())

    assert (problem.status, problem.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize("seconds", [3601, -3600])
def test_a_token_ends_cached_or_not_with_its_life_and_by_a_clock_set_back(
    access: Access, token: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    authenticated(access, token)
    now = time.time()

    monkeypatch.setattr("time.time", lambda: now + seconds)

    assert refused(access, token).status == 401


def test_cached_tokens_are_bounded_and_the_oldest_goes_first(make_settings: MakeSettings) -> None:
    access = Access(make_settings(token_cache_size=3))
    access.watch.known = Snapshot(5, frozenset({5}))
    sent = [bearer(access.tokens.issue("anna", ["predict"], 5)[0]) for _ in range(5)]
    for headers in sent:
        authenticated(access, headers)
        refused(access, bearer("nonsense"))

    assert list(access.callers._cache) == [headers[b"authorization"] for headers in sent[2:]]


def test_refusals_are_counted_by_reason(access: Access, counted: Counter[str]) -> None:
    assert refused(access, {}).headers["WWW-Authenticate"] == "Bearer"
    assert refused(access, bearer("x")).headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    for headers in (signed(exp=1), signed(secret=OLD_SECRET), signed(rev=4), signed(iss="x")):
        refused(access, headers)
    refused(access, signed(), "admin")

    reasons = ("missing", "malformed", "expired", "signature", "revoked", "claims")
    assert counted == Counter([*(f"token_{reason}" for reason in reasons), "insufficient_scope"])


def test_no_refusal_repeats_the_token_or_the_key(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    headers = signed(exp=1)
    with caplog.at_level(logging.DEBUG):
        problem = refused(access, headers)

    shown = f"{problem.detail} {problem.headers} {problem.response().body!r} {caplog.text}"
    assert headers[b"authorization"].decode().split()[1] not in shown
    assert SECRET not in shown
