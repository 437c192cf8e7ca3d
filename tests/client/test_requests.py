"""Requests to a service that is slow, busy, restarted or refuses them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import httpx
import pandas as pd
import pytest
from reproducible_ml_client import (
    Client,
    CredentialError,
    InvalidError,
    ServiceError,
    TooLargeError,
    UnavailableError,
    session,
)

from tests.client.conftest import Connect
from tests.service.api.conftest import PASSWORD

SECOND_KEY = "another-secret-for-tests-of-32-bytes"


class Clock:
    """Time that passes only while the client waits, or when a test says so."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the time of the client's requests."""
    clock = Clock()
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep))
    return clock


def busy(status: int = 503, retry_after: str | None = None) -> httpx.Response:
    headers = {"Retry-After": retry_after} if retry_after else {}
    problem = {"title": "Busy", "status": status, "detail": "Too many requests are waiting"}
    return httpx.Response(status, json=problem, headers=headers)


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_busy_service_is_asked_again_after_growing_random_pauses(
    status: int, connect: Connect, clock: Clock, table: pd.DataFrame
) -> None:
    client, switch = connect()
    switch.planned = [busy(status) for _ in range(4)]

    assert len(client.predict(table)) == len(table)

    assert len(set(clock.pauses)) == 4
    assert all(0 <= pause <= 0.5 * 2**attempt for attempt, pause in enumerate(clock.pauses))


def test_no_pause_is_shorter_than_the_service_asks_for(connect: Connect, clock: Clock, table: pd.DataFrame) -> None:
    client, switch = connect()
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    switch.planned = [busy(retry_after="7"), busy(429, retry_after=later)]

    client.predict(table)

    assert 7 <= clock.pauses[0] <= 7.5
    assert 25 < clock.pauses[1] <= 31


def test_a_service_that_asks_for_an_hour_is_not_waited_for(connect: Connect, clock: Clock, table: pd.DataFrame) -> None:
    client, switch = connect()
    switch.planned = [busy(retry_after="3600")]

    with pytest.raises(UnavailableError) as failed:
        client.predict(table)

    assert (failed.value.status, failed.value.retry_after) == (503, 3600)
    assert not clock.pauses


def test_a_broken_connection_is_tried_again(connect: Connect, clock: Clock, table: pd.DataFrame) -> None:
    client, switch = connect()
    switch.planned = [httpx.RemoteProtocolError("the server disconnected"), httpx.ConnectError("refused")]

    assert len(client.predict(table)) == len(table)
    assert len(clock.pauses) == 2


def test_a_service_that_stays_away_is_named_after_the_last_attempt(clock: Clock) -> None:
    with Client("http://127.0.0.1:9", api_key="x", retries=3) as client, pytest.raises(UnavailableError) as failed:
        client.model_info()

    assert "http://127.0.0.1:9 doesn't answer" in str(failed.value)
    assert len(clock.pauses) == 3


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (httpx.Response(502, html="<html>Bad Gateway</html>"), "502: Bad Gateway from "),
        (httpx.Response(200, html="<html>Welcome</html>"), "is it the service's URL"),
        (httpx.Response(301, headers={"Location": "https://127.0.0.1/"}), "301: Moved Permanently from"),
    ],
)
def test_an_answer_of_another_server_is_an_error_in_one_line(
    page: httpx.Response, message: str, connect: Connect, clock: Clock, table: pd.DataFrame
) -> None:
    client, switch = connect(retries=0)
    switch.planned = [page]

    with pytest.raises(ServiceError, match=message):
        client.predict(table)


def test_a_token_is_used_until_shortly_before_it_expires(connect: Connect, clock: Clock, table: pd.DataFrame) -> None:
    client, switch = connect(token_lifetime_seconds=1000)

    for seconds in (0, 960, 15, 900):
        clock.now += seconds
        client.predict(table.head(1))

    assert switch.paths.count("/token") == 2


def test_a_token_that_the_service_refuses_is_replaced_once(
    connect: Connect, ports: Callable[..., int], table: pd.DataFrame
) -> None:
    client, switch = connect()
    client.predict(table.head(1))
    switch.port = ports(secret_key=SECOND_KEY)

    client.predict(table.head(1))

    assert switch.paths.count("/token") == 2


def test_a_function_is_asked_for_another_token_after_a_refusal(
    connect: Connect, ports: Callable[..., int], table: pd.DataFrame
) -> None:
    _, switch = connect()
    form = {"username": "anna", "password": PASSWORD}
    tokens = iter(["old", httpx.post(f"http://127.0.0.1:{switch.port}/token", data=form).json()["access_token"]])

    with Client(f"http://127.0.0.1:{switch.port}", token=lambda: next(tokens)) as client:
        assert len(client.predict(table)) == len(table)


@pytest.mark.parametrize("wrong", [{"username": "anna", "password": "wrong"}, {"api_key": "x"}, {"token": "x"}])
def test_a_wrong_credential_is_no_reason_to_try_again(
    wrong: dict[str, str], connect: Connect, clock: Clock, table: pd.DataFrame
) -> None:
    _, switch = connect()
    with (
        Client(f"http://127.0.0.1:{switch.port}", **wrong) as client,  # type: ignore[arg-type]
        pytest.raises(CredentialError) as refused,
    ):
        client.predict(table)

    assert refused.value.status == 401
    assert not clock.pauses


def test_an_error_names_row_and_field_whatever_part_the_row_is_in(connect: Connect, table: pd.DataFrame) -> None:
    client, switch = connect(max_instances=64)
    wrong = table.astype({"flag": object})
    wrong.loc[["row 171", "row 180"], "flag"] = "maybe"

    with pytest.raises(InvalidError) as refused:
        client.predict(wrong)

    assert [(each.instance, each.label, each.field) for each in refused.value.errors] == [
        (171, "row 171", "flag"),
        (180, "row 180", "flag"),
    ]
    assert "row 171 (index 'row 171'), flag: expected true or false" in str(refused.value)
    assert refused.value.request_id
    assert switch.paths.count("/predict") > 2


def test_parts_give_the_answers_of_the_whole(connect: Connect, client: Client, table: pd.DataFrame) -> None:
    in_parts, _ = connect(max_instances=7)

    pd.testing.assert_frame_equal(in_parts.predict(table), client.predict(table))


def test_a_row_that_is_too_large_alone_is_an_error(connect: Connect, table: pd.DataFrame) -> None:
    client, _ = connect(max_body_bytes=1024)

    with pytest.raises(TooLargeError) as refused:
        client.predict(table.head(4).assign(shop="x" * 2000))

    assert refused.value.status == 413


def test_a_release_in_between_is_said(connect: Connect, ports: Callable[..., int], table: pd.DataFrame) -> None:
    client, switch = connect("multiclass", max_instances=150)
    client.predict(table.head(1))
    other = ports("boolean")
    switch.planned = [lambda: None, lambda: None, lambda: setattr(switch, "port", other)]

    with pytest.warns(UserWarning, match="several models answered"):
        found = client.predict(table)

    assert [*found.filter(like="probability")] == ["probability_false", "probability_true"]
    assert found["probability_true"].isna().sum() == 150
    assert len(found.attrs["models"]) == 2


def test_a_release_of_another_task_is_noticed(connect: Connect, ports: Callable[..., int], table: pd.DataFrame) -> None:
    client, switch = connect("multiclass")
    client.predict(table)
    switch.port = ports("regression")

    assert [*client.predict(table)] == ["prediction", "warnings"]
