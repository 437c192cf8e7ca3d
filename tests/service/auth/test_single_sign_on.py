"""Single sign-on: people by a browser, programs by tokens, and all that is refused."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest
from joserfc.jwk import RSAKey

from service.auth import single_sign_on
from service.auth.tokens import Tokens
from service.settings import Settings
from tests.service.auth.provider import CLIENT, Provider, providing
from tests.service.signing import SECRET
from tests.service.workers import PASSWORD, Worker, log_in, serving, until, whoami

MakeSettings = Callable[..., Settings]
STAFF = {"predict": {"groups": ["staff"]}, "admin": {"groups": ["ml-admins"]}}
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.claims = {"sub": "24400320", "preferred_username": "anna", "groups": ["staff"]}
    running.changes = {}
    return running


@pytest.fixture
def settings(make_settings: MakeSettings, provider: Provider) -> Settings:
    return with_provider(make_settings, provider)


def with_provider(make_settings: MakeSettings, provider: Provider, **more: Any) -> Settings:
    known = {"admin_username": "anna", "admin_password": PASSWORD, "oidc_issuer": provider.issuer}
    client = {"oidc_client_id": CLIENT["client_id"], "oidc_client_secret": CLIENT["secret"], "oidc_scopes": STAFF}
    return make_settings(**{**known, **client, **more})


@asynccontextmanager
async def signing_in(settings: Settings) -> AsyncIterator[tuple[Worker, httpx.URL]]:
    """Give a browser whose user agreed at the provider, and the address that it is sent back to."""
    async with serving(settings) as browser, httpx.AsyncClient(trust_env=False) as elsewhere:
        sent = await browser.get("/login")
        agreed = await elsewhere.get(sent.headers["Location"])
        yield browser, httpx.URL(agreed.headers["Location"])


def after_sign_in(settings: Settings, call: Callable[[Worker], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with signing_in(settings) as (browser, back):
            assert (await browser.get(back)).headers["Location"] == "docs"
            return await call(browser)

    return asyncio.run(scenario())


def test_a_person_who_signed_in_is_known_by_a_cookie_alone(settings: Settings) -> None:
    answer = after_sign_in(settings, lambda browser: browser.get("/whoami"))

    assert (answer.status_code, answer.json()) == (200, "sso:anna")


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401)]
)
def test_other_sites_cannot_use_the_cookie(settings: Settings, site: str, status: int) -> None:
    answer = after_sign_in(settings, lambda browser: browser.get("/whoami", headers={"Sec-Fetch-Site": site}))

    assert answer.status_code == status


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
def test_cookies_are_kept_from_scripts_from_other_sites_and_from_plain_http(
    settings: Settings, make_settings: MakeSettings, provider: Provider, scheme: str, secure: bool
) -> None:
    settings = with_provider(make_settings, provider, oidc_redirect_uri="http://test/callback")

    async def scenario() -> list[str]:
        async with signing_in(settings) as (browser, back):
            kept = browser.cookies["sign_in"]
            answer = await browser.get(back.copy_with(scheme=scheme), headers={"Cookie": f"sign_in={kept}"})
            return answer.headers.get_list("Set-Cookie")

    session, kept = asyncio.run(scenario())
    attributes = {"HttpOnly", "Max-Age=3600", "SameSite=strict"} | ({"Secure"} if secure else set())
    assert set(session.split("; ")[1:]) == attributes
    assert "Max-Age=0" in kept


def test_who_signs_out_is_forgotten(settings: Settings) -> None:
    async def sign_out(browser: Worker) -> list[int]:
        return [(await browser.post("/logout")).status_code, (await browser.get("/whoami")).status_code]

    assert after_sign_in(settings, sign_out) == [204, 401]


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
def test_an_id_token_that_is_not_for_this_sign_in_is_refused(
    settings: Settings, provider: Provider, changes: dict[str, Any]
) -> None:
    provider.changes = changes

    async def scenario() -> list[int]:
        async with signing_in(settings) as (browser, back):
            return [(await browser.get(back)).status_code, (await browser.get("/whoami")).status_code]

    assert asyncio.run(scenario()) == [401, 401]


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
def test_an_answer_that_is_not_this_sign_ins_is_refused(
    settings: Settings, change: dict[str, str | None], status: int
) -> None:
    async def scenario() -> int:
        async with signing_in(settings) as (browser, back):
            query = {name: value for name, value in {**back.params, **change}.items() if value is not None}
            return (await browser.get(back.copy_with(params=query))).status_code

    assert asyncio.run(scenario()) == status


def test_a_code_counts_once_and_only_in_the_browser_that_asked_for_it(settings: Settings) -> None:
    async def scenario() -> list[int]:
        async with signing_in(settings) as (browser, back), signing_in(settings) as (other, other_back):
            state = {"state": back.params["state"], "code": other_back.params["code"]}  # PKCE: another's code
            answers = [await browser.get(back.copy_with(params=state)), await other.get(back)]
            answers += [await other.get(other_back), await browser.get(other_back)]
            browser.cookies.clear()
            answers += [await browser.get(back)]
            return [answer.status_code for answer in answers]

    assert asyncio.run(scenario()) == [401, 400, 302, 400, 400]


def test_who_has_no_scope_by_the_rules_is_told_so(settings: Settings, provider: Provider) -> None:
    provider.claims["groups"] = ["guests"]

    async def scenario() -> httpx.Response:
        async with signing_in(settings) as (browser, back):
            return await browser.get(back)

    assert asyncio.run(scenario()).status_code == 403


def answer_to(settings: Settings, token: str, path: str = "/whoami") -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with serving(settings) as client:
            return await client.get(path, headers={"Authorization": f"Bearer {token}"})

    return asyncio.run(scenario())


def test_a_program_is_known_by_a_token_of_the_provider(settings: Settings, provider: Provider) -> None:
    ahead = int(time.time()) + 20  # by the provider's clock
    assert answer_to(settings, provider.sign(iat=ahead)).json() == "sso:robot"
    assert answer_to(settings, provider.sign(), "/admin/users").status_code == 403
    assert answer_to(settings, provider.sign(groups=["ml-admins"]), "/admin/users").status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        *({"iss": value} for value in (None, "https://other.example")),
        *({"aud": value} for value in (None, "other", ["other"], 7)),
        *({"exp": value} for value in (None, 1, "soon")),
        *({"iat": value} for value in (None, 10**11)),
        {"nbf": 10**11},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_that_is_expired_or_for_others_is_refused(
    settings: Settings, provider: Provider, changes: dict[str, Any]
) -> None:
    assert answer_to(settings, provider.sign(**changes)).status_code == 401


def test_a_forged_token_is_refused(settings: Settings, provider: Provider) -> None:
    payload = provider.sign().split(".")[1]

    def unsigned(algorithm: str, signature: str = "") -> str:
        head = json.dumps({"alg": algorithm, "kid": provider.key.kid}).encode()
        return f"{base64.urlsafe_b64encode(head).decode().rstrip('=')}.{payload}.{signature}"

    public = provider.key.as_pem(private=False)
    hs256 = unsigned("HS256").rsplit(".", 1)[0]
    signature = jwt.get_algorithm_by_name("HS256").sign(hs256.encode(), public)
    forged = [
        provider.sign(key=RSAKey.generate_key(2048).as_pem(private=True)),
        unsigned("none"),
        unsigned("RS256", "c2ln"),
        f"{hs256}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}",  # the public key taken for a secret
        jwt.encode({"iss": provider.issuer, "aud": CLIENT["client_id"], "sub": "x"}, SECRET),  # our key, its name
    ]

    assert [answer_to(settings, token).status_code for token in forged] == [401] * len(forged)


def test_a_new_key_is_fetched_once_and_tokens_of_a_withdrawn_one_end(
    settings: Settings, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with serving(settings) as client:
            old = provider.sign()
            assert await whoami(client, old) == 200
            fetches = provider.fetches
            provider.rotate()
            new = provider.sign()

            assert await whoami(client, new) == 401  # asked a moment ago
            monkeypatch.setattr(single_sign_on, "PAUSE_SECONDS", 0.0)
            assert await whoami(client, new) == 200
            assert await whoami(client, old) == 401
            monkeypatch.setattr(single_sign_on, "PAUSE_SECONDS", 3600.0)
            fetched = provider.fetches
            unknown = [provider.sign({"kid": str(number)}) for number in range(5)]
            assert {await whoami(client, token) for token in unknown} == {401}
            assert (fetched - fetches, provider.fetches - fetched) == (2, 0)

    asyncio.run(scenario())


def test_with_the_provider_down_those_signed_in_go_on_and_passwords_work(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_sign_on, "PAUSE_SECONDS", 0.0)

    async def scenario(provider: Provider) -> None:
        async with signing_in(with_provider(make_settings, provider)) as (browser, back):
            await browser.get(back)
            token, fresh = provider.sign(), provider.sign(sub="another")
            assert await whoami(browser, token) == 200
            await asyncio.to_thread(provider.stop)

            assert (await browser.get("/whoami")).json() == "sso:anna"
            assert [await whoami(browser, each) for each in (token, fresh)] == [200, 200]
            provider.rotate()
            answers = [await browser.get("/whoami", headers={"Authorization": f"Bearer {provider.sign()}"})]
            answers += [await browser.get("/login"), await browser.get(back)]
            assert [(each.status_code, each.headers.get("Retry-After")) for each in answers[:2]] == [(503, "10")] * 2
            assert (await log_in(browser)).status_code == 200

    with providing() as provider:
        asyncio.run(scenario(provider))


def test_a_service_that_starts_before_its_provider_heals_by_itself(
    make_settings: MakeSettings, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_sign_on, "PAUSE_SECONDS", 0.02)
    issuer, provider.issuer = provider.issuer, "https://not.yet"

    async def scenario() -> None:
        async with serving(with_provider(make_settings, provider, oidc_issuer=issuer)) as client:
            assert (await client.get("/login")).status_code == 503
            provider.issuer = issuer
            found = client.access.provider
            await until(lambda: found and found.failure is None)
            assert await whoami(client, provider.sign()) == 200

    asyncio.run(scenario())


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
