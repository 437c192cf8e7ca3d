"""GET /metrics with a token, and without."""

from collections.abc import Callable
from typing import Any

import pytest

TOKEN = "a-token-for-scrapes-of-32-bytes-or-more"


@pytest.mark.parametrize("header", ["", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", "Bearer \u00e9"])
def test_metrics_are_refused_without_the_token(start: Callable[..., Any], header: str) -> None:
    answer = start(metrics_token=TOKEN).client.get("/metrics", headers={"Authorization": header.encode()})

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_metrics_are_given_for_the_token(start: Callable[..., Any], scheme: str) -> None:
    answer = start(metrics_token=TOKEN).client.get("/metrics", headers={"Authorization": f"{scheme} {TOKEN}"})

    assert (answer.status_code, "http_requests_total" in answer.text) == (200, True)


def test_metrics_are_open_where_no_token_is_set(start: Callable[..., Any]) -> None:
    assert start().client.get("/metrics").status_code == 200
