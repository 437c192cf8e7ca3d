"""Single sign-on with a provider that somebody else wrote: glewlwyd, as Debian packages it."""

import asyncio
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from joserfc.jwk import RSAKey

from service.settings import Settings
from tests.service.processes import wait_for
from tests.service.workers import serving, whoami

SCHEMA = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
SECRET = "a secret of the client"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("glewlwyd") and SCHEMA.exists()), reason="glewlwyd is missing; on Debian: apt-get install it"
    ),
]


@pytest.fixture
def glewlwyd(tmp_path: Path) -> Iterator[httpx.Client]:
    """Return a client of a running glewlwyd, signed in as its administrator."""
    sqlite3.connect(tmp_path / "provider.db").executescript(SCHEMA.read_text(encoding="utf-8")).connection.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    modules = {"user": "user", "client": "client", "user_auth_scheme": "scheme", "plugin": "plugin"}
    lines = [f'{name}_module_path="/usr/lib/glewlwyd/{folder}"' for name, folder in modules.items()]
    lines += [f"port={port}", 'bind_address="127.0.0.1"', f'external_url="http://127.0.0.1:{port}"']
    lines += [
        'login_url="login.html"',
        'api_prefix="api"',
        'log_mode="console"',
        'log_level="ERROR"',
        'session_key="G"',
    ]
    lines += ['admin_scope="g_admin"', 'profile_scope="g_profile"', "login_api_enabled=true", 'hash_algorithm="SHA512"']
    lines += [f'database = {{ type = "sqlite3"; path = "{tmp_path}/provider.db"; }};']
    (tmp_path / "config").write_text("\n".join(lines), encoding="utf-8")
    with subprocess.Popen(["glewlwyd", f"--config-file={tmp_path}/config"]) as process:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", trust_env=False) as client:
            wait_for(lambda: _answers(client), "glewlwyd")
            client.post("/auth/", json={"username": "admin", "password": "password"}).raise_for_status()
            yield client
        process.terminate()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code > 0
    except httpx.HTTPError:
        return False


def configure(client: httpx.Client) -> str:
    """Add the OpenID Connect plugin and our client; return the issuer."""
    issuer = f"{str(client.base_url).rstrip('/')}/oidc"
    key = RSAKey.generate_key(2048)
    plugin = {
        "iss": issuer,
        "jwt-type": "rsa",
        "jwt-key-size": "256",
        "key": key.as_pem(private=True).decode(),
        "cert": key.as_pem(private=False).decode(),
        "access-token-duration": 3600,
        "refresh-token-duration": 3600,
        "code-duration": 60,
        **dict.fromkeys(("allow-non-oidc", "auth-type-client-enabled", "auth-type-code-enabled", "pkce-allowed"), True),
        "jwks-show": True,
        "subject-type": "public",
        "name-claim": "mandatory",
        "name-claim-scope": ["openid"],
    }
    registered = {
        "client_id": "predictions",
        "confidential": True,
        "password": SECRET,
        "client_secret": SECRET,
        "token_endpoint_auth_method": ["client_secret_basic"],
        "redirect_uri": ["http://test/callback"],
        "authorization_type": ["code", "client_credentials"],
        "scope": ["ml"],
        "enabled": True,
    }
    user = {"name": "Anna", "scope": ["g_admin", "g_profile", "openid"], "enabled": True}
    for method, path, content in (
        ("POST", "/mod/plugin/", {"module": "oidc", "name": "oidc", "parameters": plugin, "order_rank": 0}),
        ("POST", "/scope/", {"name": "ml", "password_required": False}),
        ("PUT", "/user/admin", user),
        ("POST", "/client/", registered),
        ("PUT", "/auth/grant/predictions", {"scope": "openid"}),
    ):
        client.request(method, path, json=content).raise_for_status()
    return issuer


async def test_people_and_programs_of_glewlwyd_are_known(
    glewlwyd: httpx.Client, make_settings: Callable[..., Settings]
) -> None:
    issuer = configure(glewlwyd)
    rules = {"predict": {"name": ["Anna"], "scope": ["ml"]}}
    client = {
        "oidc_client_id": "predictions",
        "oidc_client_secret": SECRET,
        "oidc_scopes": rules,
        "oidc_audience": "ml",
    }
    settings = make_settings(oidc_issuer=issuer, **client)

    def ask(form: dict[str, str]) -> httpx.Response:
        return glewlwyd.post("/oidc/token", data=form, auth=("predictions", SECRET))

    async with serving(settings) as browser:
        sent = await browser.get("/login")
        agreed = await asyncio.to_thread(glewlwyd.get, sent.headers["Location"] + "&g_continue")  # as its page does
        back = await browser.get(agreed.headers["Location"])
        assert (back.status_code, back.headers.get("Location")) == (302, "./")
        assert (await browser.get("/whoami")).status_code == 200

        form = {"grant_type": "client_credentials", "scope": "ml"}
        given = (await asyncio.to_thread(ask, form)).json()
        browser.cookies.clear()
        assert await whoami(browser, given["access_token"]) == 200
        assert await whoami(browser, given["access_token"][:-8] + "AAAAAAAA") == 401
