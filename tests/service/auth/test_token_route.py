"""POST /token over HTTP: who gets a token, who is refused, and what each refusal says."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from service.settings import Settings
from tests.service.workers import PASSWORD, RIGHT, WRONG, log_in, serving, whoami

MakeSettings = Callable[..., Settings]
pytestmark = pytest.mark.usefixtures("quick")


async def test_a_login_gives_a_bearer_token_that_opens_the_api(settings: Settings) -> None:
    async with serving(settings) as client:
        answer = await log_in(client)

        assert answer.status_code == 200
        assert sorted(answer.json()) == ["access_token", "expires_in", "scope", "token_type"]
        assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 3600)
        assert answer.json()["scope"] == "admin predict"
        assert answer.headers["Cache-Control"] == "no-store"
        assert await whoami(client, answer.json()["access_token"]) == 200


async def test_unknown_user_wrong_password_and_disabled_user_get_the_same_answer(settings: Settings) -> None:
    async with serving(settings) as client:
        accounts = client.access.accounts
        accounts.add("bob", PASSWORD)
        accounts.disable("bob")
        forms = [WRONG, {**RIGHT, "username": "nobody"}, {**RIGHT, "username": "bob"}, {**RIGHT, "username": "a b"}]
        answers = [await client.post("/token", data=form) for form in forms]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert len({tuple(sorted(answer.headers.items())) for answer in answers}) == 1
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"password": "wrong horse"}, 401, "invalid_grant"),
        ({"scope": "root"}, 400, "invalid_scope"),
        ({"grant_type": "client_credentials"}, 422, "unsupported_grant_type"),
        ({"username": ""}, 422, "invalid_request"),
        ({str(number): "" for number in range(40)}, 422, "invalid_request"),
    ],
)
async def test_errors_have_the_codes_of_oauth2(
    on_sqlite: Settings, change: dict[str, str], status: int, code: str
) -> None:
    async with serving(on_sqlite) as client:
        answer = await client.post("/token", data=RIGHT | change)

    assert (answer.status_code, answer.json()["error"]) == (status, code)


async def test_requested_scopes_are_granted_if_the_user_has_them(on_sqlite: Settings) -> None:
    async with serving(on_sqlite) as client:
        client.access.accounts.add("bob", PASSWORD)
        given, refused = await log_in(client, scope="admin"), await log_in(client, username="bob", scope="admin")

        assert await whoami(client, given.json()["access_token"]) == 403  # for want of the scope predict
        assert refused.status_code == 400
        assert refused.json()["detail"] == "Scopes of this user are predict; ask for those or for none"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("", ["username", "password"]),
        ("username=anna", ["password"]),
        ("username=&password=x", ["username"]),
        ("username=anna&password=x&password=y", ["password"]),
        ("grant_type=client_credentials&username=anna&password=x", ["grant_type"]),
    ],
)
def test_an_incomplete_form_names_the_missing_fields(on_sqlite: Settings, body: str, fields: list[str]) -> None:
    answer = post(on_sqlite, body.encode())

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == fields


def post(settings: Settings, body: bytes, kind: str = "application/x-www-form-urlencoded") -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with serving(settings) as client:
            return await client.post("/token", content=body, headers={"Content-Type": kind})

    return asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"username=%ff&password=x", b"\xff\xfe", b"a=b&" * 1000, b"username=\xc3\xa4"])
def test_bytes_that_are_no_form_are_refused(on_sqlite: Settings, body: bytes) -> None:
    assert post(on_sqlite, body).status_code == 422


async def test_a_body_that_is_too_large_is_not_read_to_its_end(on_sqlite: Settings) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10**8:
            sent += 1000
            yield b"x" * 1000

    async with serving(on_sqlite) as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        outcome = (await client.post("/token", content=endless(), headers=headers)).status_code

    assert outcome == 413
    assert sent < 20_000


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain", ""])
def test_another_content_type_is_refused(on_sqlite: Settings, kind: str) -> None:
    assert post(on_sqlite, b"{}", kind).status_code == 415


def test_no_secret_is_shown_or_logged(on_sqlite: Settings, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    async def scenario() -> str:
        async with serving(on_sqlite) as client:
            answers = [await log_in(client), await client.post("/token", data=WRONG)]
            answers += [await log_in(client, grant_type="wrong horse"), await log_in(client, scope="root")]
            (tmp_path / "users.db").write_bytes(b"no database")
            answers += [await log_in(client)]
            return "".join(f"{answer.text} {answer.headers}" for answer in answers[1:])

    with caplog.at_level(logging.DEBUG):
        shown = asyncio.run(scenario()) + caplog.text

    for secret in (PASSWORD, "wrong horse", on_sqlite.secret_key.get_secret_value(), "$argon2"):
        assert secret not in shown
