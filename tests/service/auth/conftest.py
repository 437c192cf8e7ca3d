"""A running identity provider, and settings that trust it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.settings import Settings
from tests.service.auth.provider import CLIENT, Provider, providing
from tests.service.workers import PASSWORD, Worker, serving

MakeSettings = Callable[..., Settings]
STAFF = {"predict": {"groups": ["staff"]}, "admin": {"groups": ["ml-admins"]}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def running() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.claims = {"sub": "24400320", "preferred_username": "anna", "groups": ["staff"]}
    running.changes, running.algorithm = {}, None
    return running


@pytest.fixture
def trusting(make_settings: MakeSettings, provider: Provider) -> Settings:
    return with_provider(make_settings, provider)


def with_provider(make_settings: MakeSettings, provider: Provider, **more: Any) -> Settings:
    known = {"admin_username": "anna", "admin_password": PASSWORD, "oidc_issuer": provider.issuer}
    client = {"oidc_client_id": CLIENT["client_id"], "oidc_client_secret": CLIENT["secret"], "oidc_scopes": STAFF}
    return make_settings(**{**known, **client, **more})


@asynccontextmanager
async def signing_in(
    settings: Settings, count: Callable[[str], None] | None = None
) -> AsyncIterator[tuple[Worker, httpx.URL]]:
    """Return a browser whose user signed in at the provider, and the URL to which the provider redirects it."""
    async with serving(settings, count) as browser, httpx.AsyncClient(trust_env=False) as elsewhere:
        sent = await browser.get("/login")
        agreed = await elsewhere.get(sent.headers["Location"])
        yield browser, httpx.URL(agreed.headers["Location"])


def answer_to(settings: Settings, token: str, path: str = "/whoami") -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with serving(settings) as client:
            return await client.get(path, headers={"Authorization": f"Bearer {token}"})

    return asyncio.run(scenario())
