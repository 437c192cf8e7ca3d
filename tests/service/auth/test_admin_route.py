"""Users over HTTP: done by admins alone, by the same rules as on the command line."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import Settings
from tests.service.workers import PASSWORD, Worker, log_in, serving

NEW_PASSWORD = "another horse"
JSON = {"Content-Type": "application/json"}
Call = Callable[[Worker], Awaitable[httpx.Response]]


async def as_admin(client: Worker) -> None:
    token = (await log_in(client)).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"


async def add(client: Worker, username: str = "bob", **more: Any) -> httpx.Response:
    return await client.post("/admin/users", json={"username": username, "password": PASSWORD, **more})


def after_adding_bob(settings: Settings, *calls: Call) -> list[httpx.Response]:
    """Return the answers to the admin's requests, in a service with the users anna and bob."""

    async def scenario() -> list[httpx.Response]:
        async with serving(settings) as client:
            await as_admin(client)
            await add(client)
            return [await call(client) for call in calls]

    return asyncio.run(scenario())


EVERYTHING: list[Call] = [
    lambda client: client.get("/admin/users"),
    lambda client: client.post("/admin/users", json={"username": "bob", "password": PASSWORD}),
    lambda client: client.put("/admin/users/anna/password", json={"password": PASSWORD}),
    lambda client: client.post("/admin/users/anna/disable"),
    lambda client: client.post("/admin/users/anna/enable"),
    lambda client: client.delete("/admin/users/anna"),
]


@pytest.mark.parametrize("call", EVERYTHING)
@pytest.mark.parametrize(("scope", "status"), [(None, 401), ("predict", 403)])
async def test_only_a_token_with_the_scope_admin_may(
    on_sqlite: Settings, call: Call, scope: str | None, status: int
) -> None:
    async with serving(on_sqlite) as client:
        if scope:
            token = (await log_in(client, scope=scope)).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
        outcome = (await call(client)).status_code, len(client.access.accounts.list())

    assert outcome == (status, 1)


async def test_a_body_is_not_read_before_the_token_is(on_sqlite: Settings) -> None:
    read: list[bytes] = []

    async def body() -> Any:
        read.append(b"x")
        yield b"x"

    async with serving(on_sqlite) as client:
        outcome = (await client.post("/admin/users", content=body(), headers=JSON)).status_code

    assert outcome == 401
    assert read == []


def test_a_user_added_over_http_is_listed_and_may_log_in(settings: Settings) -> None:
    listed, login = after_adding_bob(
        settings, lambda client: client.get("/admin/users"), lambda client: log_in(client, username="bob")
    )

    shown = [(user["username"], user["scopes"], user["disabled"]) for user in listed.json()]
    assert shown == [("anna", ["admin", "predict"], False), ("bob", ["predict"], False)]
    assert "hash" not in listed.text
    assert login.status_code == 200


@pytest.mark.parametrize(("name", "path"), [("carl", "CARL"), ("team/carl", "team%2Fcarl")])
def test_a_users_life_over_http(on_sqlite: Settings, name: str, path: str) -> None:
    address = f"/admin/users/{path}"

    def login(client: Worker, password: str = NEW_PASSWORD) -> Awaitable[httpx.Response]:
        return log_in(client, username=name, password=password)

    answers = after_adding_bob(
        on_sqlite,
        lambda client: add(client, name),
        lambda client: client.put(f"{address}/password", json={"password": NEW_PASSWORD}),
        lambda client: login(client, PASSWORD),
        login,
        lambda client: client.post(f"{address}/disable"),
        login,
        lambda client: client.post(f"{address}/enable"),
        login,
        lambda client: client.delete(address),
        lambda client: client.delete(address),
    )

    assert [answer.status_code for answer in answers] == [201, 204, 401, 200, 204, 401, 204, 200, 204, 404]


@pytest.mark.parametrize(
    ("call", "status", "expected"),
    [
        (add, 409, "exists already"),
        (lambda client: add(client, "a b"), 422, "has no spaces"),
        (lambda client: add(client, "carl", password="short"), 422, "at least 8"),
        (lambda client: add(client, "carl", scopes=["root"]), 422, "scopes: Input should be 'predict' or 'admin'"),
        (lambda client: add(client, "carl", scope="admin"), 422, "scope: Extra inputs are not permitted"),
        (lambda client: add(client, "carl", password=7), 422, "password: Input should be a valid string"),
        (lambda client: client.post("/admin/users", content=b"{", headers=JSON), 400, "The body is not JSON"),
        (lambda client: client.post("/admin/users", content=b'{"username": "\xff"}', headers=JSON), 400, ""),
        (lambda client: client.post("/admin/users", content=b"[" * 8000, headers=JSON), 400, ""),
        (lambda client: client.post("/admin/users", content=b"[]", headers=JSON), 422, "valid dictionary"),
        (lambda client: client.post("/admin/users", content=b" " * 9000, headers=JSON), 413, "8,192"),
        (lambda client: client.post("/admin/users", data={"username": "carl"}), 415, "application/json"),
        (lambda client: client.delete("/admin/users/nobody"), 404, "There is no user 'nobody'"),
        (lambda client: client.delete("/admin/users/a%00b"), 404, "There is no user"),
        (lambda client: client.delete("/admin/users/anna"), 409, "last admin"),
        (lambda client: client.post("/admin/users/anna/disable"), 409, "last admin"),
    ],
)
def test_breaking_a_rule_names_the_rule_and_changes_nothing(
    on_sqlite: Settings, call: Callable[[Worker], Coroutine[Any, Any, httpx.Response]], status: int, expected: str
) -> None:
    answer, listed = after_adding_bob(on_sqlite, call, lambda client: client.get("/admin/users"))

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert expected in answer.json()["detail"]
    assert [user["username"] for user in listed.json()] == ["anna", "bob"]


async def test_without_a_database_administration_gets_retry_after(on_sqlite: Settings, tmp_path: Path) -> None:
    async with serving(on_sqlite) as client:
        await as_admin(client)
        (tmp_path / "users.db").unlink()
        answer = await client.get("/admin/users")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"


async def test_too_many_admin_requests_at_once_get_retry_after(on_sqlite: Settings) -> None:
    async with serving(on_sqlite) as client:
        await as_admin(client)
        answers = await asyncio.gather(*(add(client, f"user{number}") for number in range(30)))

    assert {answer.status_code for answer in answers} == {201, 429}
    assert {answer.headers["Retry-After"] for answer in answers if answer.status_code == 429} == {"2"}
