"""Workers and their database: tokens that end, and a database that goes and comes back."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.auth import watch
from service.settings import Settings
from service.users.rules import AccountError
from tests.service.workers import PASSWORD, is_up_to_date, log_in, serving, until, whoami

if TYPE_CHECKING:
    from tests.service.conftest import Postgres

MakeSettings = Callable[..., Settings]
pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("change", ["disable", "remove", "set_password"])
async def test_tokens_end_in_every_worker_soon_after_the_change(settings: Settings, change: str) -> None:
    async with serving(settings) as one, serving(settings) as other:
        accounts = one.access.accounts
        accounts.add("bob", PASSWORD)
        token = (await log_in(one, username="bob")).json()["access_token"]
        assert [await whoami(one, token), await whoami(other, token)] == [200, 200]

        changed = ["bob", "another horse"] if change == "set_password" else ["bob"]
        await asyncio.to_thread(getattr(accounts, change), *changed)

        for client in (one, other):
            await until(partial(is_up_to_date, client))
            assert await whoami(client, token) == 401


async def test_a_token_for_the_new_password_is_good_at_once_in_every_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 3600.0)

    async with serving(settings) as one, serving(settings) as other:
        one.access.accounts.set_password("anna", "another horse")
        token = (await log_in(one, password="another horse")).json()["access_token"]

        assert [await whoami(one, token), await whoami(other, token)] == [200, 200]


async def test_after_a_backup_is_restored_only_tokens_that_it_knows_work(on_sqlite: Settings, tmp_path: Path) -> None:
    async with serving(on_sqlite) as client:
        backup = (tmp_path / "users.db").read_bytes()
        tokens = [(await log_in(client)).json()["access_token"]]
        for name, expected in (("bob", [200, 401]), ("carl", [200, 401, 401])):
            client.access.accounts.add(name, PASSWORD)
            tokens.append((await log_in(client, username=name)).json()["access_token"])
            await until(partial(is_up_to_date, client))
            assert await whoami(client, tokens[-1]) == 200

            (tmp_path / "users.db").write_bytes(backup)
            await until(partial(is_up_to_date, client))
            assert [await whoami(client, each) for each in tokens] == expected


async def test_without_the_database_tokens_still_work_and_logins_recover(on_sqlite: Settings, tmp_path: Path) -> None:
    async with serving(on_sqlite) as client:
        watch = client.access.watch
        token = (await log_in(client)).json()["access_token"]
        (tmp_path / "users.db").rename(tmp_path / "away.db")
        await until(lambda: watch.failure)

        answers = [await log_in(client) for _ in range(15)]  # more than may fail
        assert {answer.status_code for answer in answers} == {503}
        assert int(answers[0].headers["Retry-After"]) > 0
        assert await whoami(client, token) == 200

        (tmp_path / "away.db").rename(tmp_path / "users.db")
        await until(lambda: not watch.failure)
        assert (await log_in(client)).status_code == 200


@pytest.fixture
def own_postgres(request: pytest.FixtureRequest) -> Iterator["Postgres"]:
    """Return the shared PostgreSQL, running again when the test is over."""
    cluster = request.getfixturevalue("postgres")
    yield cluster
    with contextlib.suppress(Exception):
        cluster.start()


@pytest.mark.slow
async def test_with_postgresql_stopped_tokens_still_work_and_logins_recover(
    own_postgres: "Postgres",
    make_settings: MakeSettings,
) -> None:
    settings = make_settings(database_url=own_postgres.empty(), admin_username="anna", admin_password=PASSWORD)

    async with serving(settings) as client:
        watch = client.access.watch
        token = (await log_in(client)).json()["access_token"]
        await asyncio.to_thread(own_postgres.stop)
        await until(lambda: watch.failure)

        assert (await log_in(client)).status_code == 503
        assert await whoami(client, token) == 200

        await asyncio.to_thread(own_postgres.start)
        await until(lambda: not watch.failure)
        assert (await log_in(client)).status_code == 200


async def test_a_service_that_starts_before_its_database_recovers(make_settings: MakeSettings, tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    settings = make_settings(
        database_url=f"sqlite:///{folder}/users.db", admin_username="anna", admin_password=PASSWORD
    )

    async with serving(settings) as client:
        assert (await log_in(client)).status_code == 503

        folder.mkdir()
        await until(lambda: not client.access.watch.failure)
        assert (await log_in(client)).status_code == 200


async def test_an_invalid_first_admin_is_reported_also_if_the_database_comes_later(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "volume"
    url = f"sqlite:///{folder}/users.db"

    async with serving(make_settings(database_url=url, admin_username="anna", admin_password="short")) as client:
        folder.mkdir()
        await until(lambda: str(client.access.watch.failure).startswith("ADMIN_USERNAME or ADMIN_PASSWORD: "))


def test_the_watch_survives_an_unexpected_error(
    on_sqlite: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serving(on_sqlite) as client:
            with monkeypatch.context() as broken:
                broken.setattr(client.access.watch, "_database", None)
                await until(lambda: client.access.watch.failure)
            await until(lambda: not client.access.watch.failure)

    asyncio.run(scenario())
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"admin_username": "anna"}, "set both ADMIN_USERNAME and ADMIN_PASSWORD"),
        ({"admin_username": "anna", "admin_password": "short"}, "ADMIN_PASSWORD: a password has at least 8"),
    ],
)
def test_a_first_admin_against_the_rules_stops_the_start(
    make_settings: MakeSettings, values: dict[str, str], expected: str
) -> None:
    async def scenario() -> None:
        async with serving(make_settings(**values)):
            pass

    with pytest.raises(AccountError, match=expected) as caught:
        asyncio.run(scenario())
    assert "short" not in str(caught.value)
