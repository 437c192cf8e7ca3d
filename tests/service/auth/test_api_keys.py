"""API keys over HTTP, on either engine."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.auth import watch
from service.settings import Settings
from service.users.accounts import ApiKeys, digest
from tests.service.workers import Worker, log_in, serving, until, whoami

MakeSettings = Callable[..., Settings]
pytestmark = pytest.mark.usefixtures("quick")


def keys_of(client: Worker) -> ApiKeys:
    return ApiKeys(client.database)


async def with_header(client: Worker, path: str, **headers: str) -> httpx.Response:
    return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def test_a_new_key_works_at_once_as_a_bearer_token_and_as_x_api_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 3600.0)

    async with serving(settings) as client:
        key, _ = keys_of(client).add("nightly", ["predict"], timedelta(days=90))
        for headers in ({"X_API_Key": key}, {"Authorization": f"Bearer {key}"}):
            assert (await with_header(client, "/whoami", **headers)).json() == "key:nightly"
            assert (await with_header(client, "/admin/users", **headers)).status_code == 403
        admin, _ = keys_of(client).add("operator", ["admin"], None)
        assert (await with_header(client, "/admin/users", X_API_Key=admin)).status_code == 200
        assert (await with_header(client, "/whoami", X_API_Key=admin)).status_code == 403


async def test_a_revoked_key_ends_in_every_worker_within_five_seconds(settings: Settings) -> None:
    async with serving(settings) as one, serving(settings) as other:
        key, _ = keys_of(one).add("nightly", ["predict"], None)
        assert [await whoami(each, key) for each in (one, other)] == [200, 200]
        keys_of(one).revoke("nightly")
        began = time.monotonic()
        while [await whoami(each, key) for each in (one, other)] != [401, 401]:
            assert time.monotonic() - began < 5.0
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("key", ["key_", "key_unknown", "key_\xff"])
async def test_unknown_keys_are_refused_and_share_a_query(
    on_sqlite: Settings, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(watch, "EARLY_SECONDS", 0.2)
    monkeypatch.setattr(watch, "POLL_SECONDS", 3600.0)
    asked: list[int] = []
    read = watch.read_snapshot

    def _counted(*arguments: Any) -> Any:
        asked.append(arguments[1].revision)
        return read(*arguments)

    monkeypatch.setattr(watch, "read_snapshot", _counted)

    async with serving(on_sqlite) as client:
        headers = {b"x-api-key": key.encode("latin-1")}
        answers = await asyncio.gather(*(client.get("/whoami", headers=headers) for _ in range(20)))
        own = [-1, client.access.watch.known.revision]  # a stopped service's last query may still end in its thread
        outcome = {answer.status_code for answer in answers}, [since for since in asked if since in own]

    statuses, queries = outcome
    assert statuses == {401}
    assert len(queries) == 2


async def test_an_expired_key_is_refused_cached_or_not(on_sqlite: Settings) -> None:
    async with serving(on_sqlite) as client:
        key, _ = keys_of(client).add("nightly", ["predict"], timedelta(seconds=0.5))
        assert await whoami(client, key) == 200
        await asyncio.sleep(0.5)
        assert await whoami(client, key) == 401
    async with serving(on_sqlite) as client:
        assert await whoami(client, key) == 401


async def test_the_last_use_is_written_down_now_and_then_and_at_a_stop(settings: Settings) -> None:
    async with serving(settings) as client:
        keys = keys_of(client)
        used, _ = keys.add("used", ["predict"], None)
        keys.add("unused", ["predict"], None)
        await until(lambda: client.access.watch.known.keys.get(digest(used)))
        await whoami(client, used)
        await until(lambda: keys.list()[1].last_used_at)
        first = keys.list()[1].last_used_at
        assert first is not None
        assert datetime.now(UTC) - first < timedelta(seconds=10)
        assert keys.list()[0].last_used_at is None
        await whoami(client, used)
    async with serving(settings) as client:
        last = keys_of(client).list()[1].last_used_at
        assert last is not None
        assert last > first


async def test_without_the_database_known_keys_still_work(on_sqlite: Settings, tmp_path: Path) -> None:
    async with serving(on_sqlite) as client:
        key, _ = keys_of(client).add("nightly", ["predict"], None)
        token = (await log_in(client)).json()["access_token"]
        await until(lambda: client.access.watch.known.keys.get(digest(key)))
        (tmp_path / "users.db").unlink()
        await until(lambda: client.access.watch.failure)
        assert [await whoami(client, each) for each in (key, token)] == [200, 200]
