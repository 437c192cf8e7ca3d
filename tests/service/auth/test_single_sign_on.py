"""Single sign-on: people by a browser, programs by tokens, and all that is refused."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.auth import single_sign_on
from service.auth.tokens import Tokens
from service.settings import Settings
from tests.service.auth.conftest import answer_to, signing_in, with_provider
from tests.service.auth.provider import Provider
from tests.service.workers import PASSWORD, Worker

MakeSettings = Callable[..., Settings]
pytestmark = pytest.mark.usefixtures("quick")


def after_sign_in(settings: Settings, call: Callable[[Worker], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with signing_in(settings) as (browser, back):
            assert (await browser.get(back)).headers["Location"] == "./"
            return await call(browser)

    return asyncio.run(scenario())


def test_a_cookie_alone_identifies_a_person_who_signed_in(trusting: Settings) -> None:
    answer = after_sign_in(trusting, lambda browser: browser.get("/whoami"))

    assert (answer.status_code, answer.json()) == (200, "sso:anna")


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401)]
)
def test_other_sites_cannot_use_the_cookie(trusting: Settings, site: str, status: int) -> None:
    answer = after_sign_in(trusting, lambda browser: browser.get("/whoami", headers={"Sec-Fetch-Site": site}))

    assert answer.status_code == status


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
async def test_cookies_are_kept_from_scripts_from_other_sites_and_from_plain_http(
    make_settings: MakeSettings, provider: Provider, scheme: str, secure: bool
) -> None:
    settings = with_provider(make_settings, provider, oidc_redirect_uri="http://test/callback")

    async with signing_in(settings) as (browser, back):
        kept = browser.cookies["sign_in"]
        answer = await browser.get(back.copy_with(scheme=scheme), headers={"Cookie": f"sign_in={kept}"})
        outcome = answer.headers.get_list("Set-Cookie")

    session, kept = outcome
    attributes = {"HttpOnly", "Max-Age=3600", "SameSite=strict"} | ({"Secure"} if secure else set())
    assert set(session.split("; ")[1:]) == attributes
    assert "Max-Age=0" in kept


def test_who_signs_out_is_forgotten(trusting: Settings) -> None:
    async def sign_out(browser: Worker) -> list[int]:
        return [(await browser.post("/logout")).status_code, (await browser.get("/whoami")).status_code]

    assert after_sign_in(trusting, sign_out) == [204, 401]


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"aud": "other"},
        {"exp": 1},
        {"nonce": "x"},
        {"azp": "other"},
        {"at_hash": "x"},
    ],
    ids=str,
)
async def test_an_id_token_that_is_not_for_this_sign_in_is_refused(
    trusting: Settings, provider: Provider, changes: dict[str, Any]
) -> None:
    provider.changes = changes

    async with signing_in(trusting) as (browser, back):
        outcome = [(await browser.get(back)).status_code, (await browser.get("/whoami")).status_code]

    assert outcome == [401, 401]


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_an_id_token_with_a_weak_algorithm_is_refused_even_if_the_provider_names_it(
    trusting: Settings, provider: Provider, algorithm: str
) -> None:
    provider.algorithm = algorithm

    async with signing_in(trusting) as (browser, back):
        assert (await browser.get(back)).status_code == 401


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"state": "other"}, 400),
        ({"iss": "https://other.example"}, 400),
        ({"code": "other"}, 401),
        ({"code": None, "error": "access_denied"}, 401),
    ],
    ids=str,
)
async def test_an_answer_that_is_not_this_sign_ins_is_refused(
    trusting: Settings, change: dict[str, str | None], status: int
) -> None:
    async with signing_in(trusting) as (browser, back):
        query = {name: value for name, value in {**back.params, **change}.items() if value is not None}
        outcome = (await browser.get(back.copy_with(params=query))).status_code

    assert outcome == status


async def test_a_code_counts_once_and_only_in_the_browser_that_asked_for_it(trusting: Settings) -> None:
    async with signing_in(trusting) as (browser, back), signing_in(trusting) as (other, other_back):
        state = {"state": back.params["state"], "code": other_back.params["code"]}  # PKCE: another's code
        answers = [await browser.get(back.copy_with(params=state)), await other.get(back)]
        answers += [await other.get(other_back), await browser.get(other_back)]
        browser.cookies.clear()
        answers += [await browser.get(back)]
        outcome = [answer.status_code for answer in answers]

    assert outcome == [401, 400, 302, 400, 400]


async def test_who_has_no_scope_by_the_rules_is_refused(trusting: Settings, provider: Provider) -> None:
    provider.claims["groups"] = ["guests"]

    async with signing_in(trusting) as (browser, back):
        outcome = await browser.get(back)

    assert outcome.status_code == 403


@pytest.mark.parametrize(
    ("rules", "claims", "scopes"),
    [
        ({"predict": {}}, {}, ["predict"]),
        ({"predict": {"scope": ["ml:predict"]}}, {"scope": "openid ml:predict"}, ["predict"]),
        ({"predict": {"name": ["admin"]}}, {"name": "no admin"}, []),
        ({"admin": {"realm_access.roles": ["boss"]}}, {"realm_access": {"roles": ["boss"]}}, ["admin"]),
        ({"admin": {"https://example.com/roles": ["boss"]}}, {"https://example.com/roles": ["boss"]}, ["admin"]),
        ({"predict": {"email_verified": [True]}}, {"email_verified": True}, ["predict"]),
        ({"predict": {"email_verified": [True]}}, {"email_verified": "true"}, []),
        ({"predict": {"sub": ["a"], "email": ["a@b"]}}, {"email": "a@b"}, ["predict"]),
        ({"predict": {"a.b": ["c"]}}, {"a": [{"b": "c"}]}, []),
    ],
    ids=str,
)
def test_claims_give_scopes_by_the_rules(
    make_settings: MakeSettings, provider: Provider, rules: Any, claims: dict[str, Any], scopes: list[str]
) -> None:
    settings = with_provider(make_settings, provider, oidc_scopes=json.dumps(rules))
    found = single_sign_on.IdentityProvider(settings, provider.issuer).identify({"sub": "\u202ex y", **claims})

    assert (sorted(found[1]), found[0].startswith("sso:")) == (scopes, True)
    assert found[0].isprintable()


def test_without_single_sign_on_no_session_and_no_token_of_a_provider_counts(
    make_settings: MakeSettings, provider: Provider
) -> None:
    settings = make_settings(admin_username="anna", admin_password=PASSWORD)
    session, _ = Tokens(settings).issue("sso:anna", ["admin"], provider=provider.issuer)

    for token in (provider.sign(), session):
        assert answer_to(settings, token).status_code == 401
    assert answer_to(settings, "", "/login").status_code == 404


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"oidc_issuer": "http://example.com"}, "must begin with https"),
        ({"oidc_client_id": ""}, "needs OIDC_CLIENT_ID"),
        ({"oidc_scopes": {}}, "and OIDC_SCOPES"),
        ({"oidc_scopes": "{"}, "Expecting property name"),
        ({"oidc_scopes": {"root": {}}}, "'predict' or 'admin'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    make_settings: MakeSettings, provider: Provider, change: dict[str, Any], expected: str
) -> None:
    with pytest.raises(Exception, match=expected):
        with_provider(make_settings, provider, **change)


def test_outcomes_of_sign_ins_are_counted(trusting: Settings, provider: Provider) -> None:
    counted: list[str] = []

    async def scenario() -> None:
        for groups, code in ((["staff"], {}), (["guests"], {}), (["staff"], {"code": "other"})):
            provider.claims["groups"] = groups
            async with signing_in(trusting, counted.append) as (browser, back):
                await browser.get(back.copy_merge_params(code))

    asyncio.run(scenario())
    assert counted == ["granted", "insufficient_scope", "token_sign_in"]
