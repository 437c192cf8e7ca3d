"""Logins under pressure: throttled, queued, delayed, counted."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from service.auth import logins
from service.settings import Settings
from tests.service.workers import WRONG, log_in, serving, until

MakeSettings = Callable[..., Settings]
pytestmark = pytest.mark.usefixtures("quick")


async def test_failed_logins_are_throttled_with_a_time_to_wait(on_sqlite: Settings) -> None:
    async with serving(on_sqlite) as client:
        statuses = [(await client.post("/token", data=WRONG)).status_code for _ in range(12)]
        answer = await log_in(client)

        assert statuses == [401] * 10 + [429] * 2
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 6
        assert (await log_in(client, username="bob")).status_code == 401


async def test_good_logins_never_count_as_failed_also_at_once(on_sqlite: Settings) -> None:
    async with serving(on_sqlite) as client:
        outcome = [await log_in(client) for _ in range(30)] + await asyncio.gather(*(log_in(client) for _ in range(30)))

    assert {answer.status_code for answer in outcome} == {200}


async def test_bad_logins_at_once_are_throttled_once_enough_have_failed(on_sqlite: Settings) -> None:
    async with serving(on_sqlite) as client:
        outcome = await asyncio.gather(*(client.post("/token", data=WRONG) for _ in range(20)))

    assert Counter(answer.status_code for answer in outcome) == {401: 10, 429: 10}


async def test_too_many_logins_at_once_get_retry_after(on_sqlite: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "WAITING", 2)
    may_go_on = threading.Event()

    async with serving(on_sqlite) as client:
        accounts = client.access.accounts
        check = accounts.check
        monkeypatch.setattr(accounts, "check", lambda *form: may_go_on.wait() and check(*form))
        asked = [asyncio.create_task(log_in(client)) for _ in range(8)]
        await until(lambda: sum(each.done() for each in asked) == 5)
        may_go_on.set()
        answers = await asyncio.gather(*asked)

    assert Counter(answer.status_code for answer in answers) == {200: 3, 503: 5}
    assert {answer.headers.get("Retry-After") for answer in answers if answer.status_code == 503} == {"1"}


def test_a_login_that_waits_too_long_gets_retry_after(on_sqlite: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    began, may_go_on, counted = threading.Event(), threading.Event(), Counter[str]()

    async def scenario() -> tuple[httpx.Response, int]:
        async with serving(on_sqlite, lambda outcome: counted.update([outcome])) as client:
            check = client.access.accounts.check

            def wait(*form: str) -> object:
                began.set()
                return may_go_on.wait() and check(*form)

            monkeypatch.setattr(client.access.accounts, "check", wait)
            first = asyncio.create_task(log_in(client))
            await until(began.is_set)
            monkeypatch.setattr(logins, "ANSWER_SECONDS", 0.1)
            second = await log_in(client)
            may_go_on.set()
            return second, (await first).status_code

    second, first = asyncio.run(scenario())
    assert (second.status_code, second.json()["detail"]) == (503, "Too many logins at once; try again")
    assert (first, counted) == (200, {"granted": 1, "busy": 1})


async def test_a_refusal_is_held_back_while_others_are_answered(
    on_sqlite: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(on_sqlite) as client:
        for _ in range(10):
            await client.post("/token", data=WRONG)
        monkeypatch.setattr(logins, "REFUSAL_DELAY_SECONDS", 3600.0)
        held = [asyncio.create_task(client.post("/token", data=WRONG)) for _ in range(20)]
        other = await log_in(client, username="bob")
        answered = sum(each.done() for each in held)
        for each in held:
            each.cancel()
        await asyncio.wait(held)
        outcome = other.status_code, answered

    assert outcome == (401, 0)


def test_grants_and_refusals_are_counted_by_reason(on_sqlite: Settings, tmp_path: Path) -> None:
    counted: Counter[str] = Counter()

    async def scenario() -> None:
        async with serving(on_sqlite, lambda outcome: counted.update([outcome])) as client:
            await log_in(client)
            await log_in(client, scope="root")
            for _ in range(11):
                await client.post("/token", data=WRONG)
            (tmp_path / "users.db").unlink()
            await log_in(client, username="bob")

    asyncio.run(scenario())
    assert counted == {
        "granted": 1,
        "invalid_scope": 1,
        "wrong_credentials": 10,
        "throttled_username": 1,
        "database_down": 1,
    }
