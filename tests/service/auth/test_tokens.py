"""Access tokens: what they say, which are accepted, and what a remembered one costs."""

import base64
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from service.auth.revocations import Revocations
from service.auth.tokens import Tokens
from service.settings import Settings, SettingsError
from tests.service.signing import SECRET, bearer, refused, signed

OLD_SECRET = "an-older-secret-of-32-bytes-or-more-too"
MakeSettings = Callable[..., Settings]


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def test_a_token_names_issuer_audience_subject_scopes_times_and_itself(tokens: Tokens) -> None:
    claims = claims_of(tokens.issue("anna", ["predict", "admin"], 5)[0])

    assert claims.pop("exp") - claims.pop("iat") == 3600
    assert len(claims.pop("jti")) >= 16
    assert claims == {
        "iss": "reproducible-ml",
        "aud": "reproducible-ml",
        "sub": "anna",
        "scope": "admin predict",
        "rev": 5,
    }


def test_no_two_tokens_are_the_same(tokens: Tokens) -> None:
    assert tokens.issue("anna", ["predict"], 5) != tokens.issue("anna", ["predict"], 5)


def test_the_life_of_a_token_is_the_one_set(make_settings: MakeSettings, revocations: Revocations) -> None:
    token, seconds = Tokens(make_settings(token_lifetime_seconds=7), revocations).issue("anna", ["predict"], 5)

    assert seconds == 7
    assert claims_of(token)["exp"] - claims_of(token)["iat"] == 7


def test_a_token_speaks_for_its_user(tokens: Tokens) -> None:
    token, _ = tokens.issue("anna", ["predict"], 5)

    for _ in range(2):
        principal = tokens.authenticate(bearer(token), "predict")
        assert (principal.username, principal.scopes) == ("anna", frozenset({"predict"}))


def test_the_helper_of_these_tests_signs_what_is_accepted(tokens: Tokens) -> None:
    assert tokens.authenticate(signed(), "predict").username == "anna"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "someone-else"},
        {"aud": "something-else"},
        {"aud": ["something-else"]},
        {"exp": 1},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"exp": True},
        {"exp": 10**400},
        {"exp": "9999999999"},
        {"iat": 10**12},
        {"iat": "1"},
        {"nbf": 10**12},
        {"sub": 7},
        {"sub": ""},
        {"scope": ["predict"]},
        {"rev": "5"},
        {"rev": True},
        {"rev": 5.0},
        *({name: None} for name in ("iss", "aud", "exp", "iat", "jti", "sub", "scope", "rev")),
    ],
    ids=str,
)
def test_a_signed_token_with_wrong_or_missing_claims_is_refused(tokens: Tokens, changes: dict[str, Any]) -> None:
    assert refused(tokens, signed(**changes)).status == 401


@pytest.mark.parametrize(
    "header",
    [{"alg": "HS512"}, {"kid": "another"}, {"kid": ["a"]}, {"kid": None}, {"crit": ["exp"], "exp": 1}],
    ids=str,
)
def test_a_token_with_another_algorithm_or_key_is_refused(tokens: Tokens, header: dict[str, Any]) -> None:
    head = {"alg": "HS256", "kid": OctKey.import_key(SECRET).thumbprint()} | header
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, {})]

    assert refused(tokens, b"Bearer " + b".".join([*encoded, b"c2ln"])).status == 401


def test_hs512_with_the_right_key_is_refused_all_the_same(tokens: Tokens) -> None:
    assert refused(tokens, signed({"alg": "HS512"})).status == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "RS256", ""])
def test_an_unsigned_token_is_refused(tokens: Tokens, algorithm: str) -> None:
    head = {"alg": algorithm, "kid": OctKey.import_key(SECRET).thumbprint()}
    start = base64.urlsafe_b64encode(json.dumps(head).encode()).rstrip(b"=")
    payload = tokens.issue("anna", ["predict"], 5)[0].split(".")[1].encode()

    assert refused(tokens, b"Bearer " + start + b"." + payload + b".").status == 401


def test_a_token_signed_by_another_key_under_our_keys_name_is_refused(tokens: Tokens) -> None:
    forged = signed({"kid": OctKey.import_key(SECRET).thumbprint()}, secret=OLD_SECRET)

    assert "wasn't signed by this service" in refused(tokens, forged).detail


@given(place=st.integers(0, 10_000), byte=st.integers(33, 126))
def test_a_token_with_one_character_changed_is_refused(place: int, byte: int) -> None:
    known = Revocations()
    known.update(5, {"anna": 5})
    tokens = Tokens(Settings.model_validate({"secret_key": SECRET}), known)
    whole = bytearray(bearer(tokens.issue("anna", ["predict"], 5)[0]))
    # The last character of a base64 text holds two bits that are not used.
    place = len(b"Bearer ") + place % (len(whole) - len(b"Bearer ") - 1)
    if whole[place] == byte:
        return
    whole[place] = byte

    assert refused(tokens, bytes(whole)).status == 401


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda junk: b"Bearer " + junk))
def test_no_header_whatsoever_gives_anything_but_a_401(junk: bytes) -> None:
    known = Revocations()
    known.update(5, {})

    assert refused(Tokens(Settings.model_validate({"secret_key": SECRET}), known), junk).status == 401


@pytest.mark.parametrize("header", [b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"Bearer a b", b"a.b.c"])
def test_a_header_of_another_form_is_refused(tokens: Tokens, header: bytes) -> None:
    assert "isn't of the form" in refused(tokens, header).detail


def test_a_huge_token_is_refused_before_it_is_looked_into(tokens: Tokens) -> None:
    huge = b"Bearer " + b"a" * 50_000_000 + b".a.a"
    start = time.perf_counter()

    assert refused(tokens, huge).detail == "The token is longer than 4096 bytes"
    assert time.perf_counter() - start < 1.0
    assert tokens._remembered == {}


def test_the_scheme_may_be_written_in_any_case(tokens: Tokens) -> None:
    token, _ = tokens.issue("anna", ["predict"], 5)

    assert tokens.authenticate(b"bEARER " + token.encode(), "predict").username == "anna"


def test_a_refusal_challenges_as_rfc_6750_says(tokens: Tokens) -> None:
    assert refused(tokens, None).headers["WWW-Authenticate"] == "Bearer"
    assert refused(tokens, b"Bearer x").headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')


def test_a_token_without_the_scope_is_forbidden_and_stays_so(tokens: Tokens) -> None:
    authorization = bearer(tokens.issue("anna", ["predict"], 5)[0])

    for _ in range(2):
        problem = refused(tokens, authorization, "admin")
        assert problem.status == 403
        assert problem.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'
    assert tokens.authenticate(authorization, "predict").username == "anna"


def test_a_token_of_the_previous_key_is_accepted_and_new_ones_are_signed_by_the_new(
    make_settings: MakeSettings, revocations: Revocations
) -> None:
    before = Tokens(make_settings(secret_key=OLD_SECRET), revocations)
    after = Tokens(make_settings(secret_key_previous=OLD_SECRET), revocations)

    assert after.authenticate(bearer(before.issue("anna", ["predict"], 5)[0]), "predict").username == "anna"
    assert refused(before, bearer(after.issue("anna", ["predict"], 5)[0])).status == 401


@pytest.mark.parametrize("name", ["secret_key", "secret_key_previous"])
@pytest.mark.parametrize("key", ["-----BEGIN PRIVATE KEY-----\n", "ssh-rsa ", '{"kty":"oct","k":"'], ids=str.strip)
def test_a_key_of_another_kind_is_refused_by_name_when_the_service_starts(
    make_settings: MakeSettings, revocations: Revocations, name: str, key: str
) -> None:
    ends = {"-": "\n-----END PRIVATE KEY-----", "s": "", "{": '"}'}
    settings = make_settings(**{name: key + "a" * 40 + ends[key[0]]})

    with pytest.raises(SettingsError, match=f"^{name.upper()} is a key") as caught:
        Tokens(settings, revocations)
    assert "aaa" not in str(caught.value)


def test_a_token_of_a_key_that_was_dropped_is_refused(tokens: Tokens) -> None:
    assert "wasn't signed by this service" in refused(tokens, signed(secret=OLD_SECRET)).detail


def test_a_token_from_before_a_backup_was_restored_ends(tokens: Tokens, revocations: Revocations) -> None:
    revocations.update(7, {"anna": 7, "bob": 5})
    old, _ = tokens.issue("anna", ["predict"], 7)
    revocations.update(5, {"bob": 5})
    new, _ = tokens.issue("bob", ["predict"], 9)

    assert "revoked" in refused(tokens, bearer(old)).detail
    assert tokens.authenticate(bearer(new), "predict").username == "bob"


def test_refusals_are_counted_by_reason(tokens: Tokens, counted: Counter[str]) -> None:
    refused(tokens, None)
    refused(tokens, b"Bearer x")
    refused(tokens, signed(exp=1))
    refused(tokens, signed(secret=OLD_SECRET))
    refused(tokens, signed(rev=4))
    refused(tokens, signed(iss="x"))
    refused(tokens, signed(), "admin")

    assert counted == Counter(
        [
            "token_missing",
            "token_malformed",
            "token_expired",
            "token_signature",
            "token_revoked",
            "token_claims",
            "insufficient_scope",
        ]
    )


def test_no_refusal_repeats_the_token_or_the_key(tokens: Tokens, caplog: pytest.LogCaptureFixture) -> None:
    authorization = signed(exp=1)
    with caplog.at_level(logging.DEBUG):
        problem = refused(tokens, authorization)

    told = f"{problem.detail} {problem.headers} {problem.body()!r} {caplog.text}"
    assert authorization.decode().split()[1] not in told
    assert SECRET not in told
