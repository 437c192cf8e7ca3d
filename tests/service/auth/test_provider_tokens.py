"""Tokens of the identity provider, as programs bring them: which count, and for how long."""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from joserfc.jwk import RSAKey

from service.auth import single_sign_on
from service.settings import Settings
from tests.service.auth.conftest import answer_to, signing_in, with_provider
from tests.service.auth.provider import CLIENT, Provider, providing
from tests.service.signing import SECRET
from tests.service.workers import log_in, serving, until, whoami

MakeSettings = Callable[..., Settings]
pytestmark = pytest.mark.usefixtures("quick")


def test_a_program_is_known_by_a_token_of_the_provider(trusting: Settings, provider: Provider) -> None:
    ahead = int(time.time()) + 20  # by the provider's clock
    assert answer_to(trusting, provider.sign(iat=ahead)).json() == "sso:robot"
    assert answer_to(trusting, provider.sign(), "/admin/users").status_code == 403
    assert answer_to(trusting, provider.sign(groups=["ml-admins"]), "/admin/users").status_code == 200


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
    trusting: Settings, provider: Provider, changes: dict[str, Any]
) -> None:
    assert answer_to(trusting, provider.sign(**changes)).status_code == 401


def test_a_forged_token_is_refused(trusting: Settings, provider: Provider) -> None:
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

    assert [answer_to(trusting, token).status_code for token in forged] == [401] * len(forged)


async def test_a_new_key_is_fetched_once_and_tokens_of_a_withdrawn_one_end(
    trusting: Settings, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(trusting) as client:
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


def test_with_the_provider_down_sessions_and_passwords_still_work(
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


async def test_a_service_that_starts_before_its_provider_recovers(
    make_settings: MakeSettings, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_sign_on, "PAUSE_SECONDS", 0.02)
    issuer, provider.issuer = provider.issuer, "https://not.yet"

    async with serving(with_provider(make_settings, provider, oidc_issuer=issuer)) as client:
        assert (await client.get("/login")).status_code == 503
        provider.issuer = issuer
        found = client.access.provider
        await until(lambda: found and found.failure is None)
        assert await whoami(client, provider.sign()) == 200
