"""What fills the log, and what doesn't: probes, and requests that are left out of a sample."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from service.auth.watch import Snapshot

PROBES = ("/metrics", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
Start = Callable[..., Any]


def logged(service: Any, capsys: pytest.CaptureFixture[str], *paths: str) -> list[tuple[str, int]]:
    answers = [service.client.get(path) for path in paths]
    assert all(answer.headers["x-request-id"] for answer in answers)
    service.app.state.access_log.stop()
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return [
        (line["route"], line["status"]) for line in lines if line["event"] == "request" and line["route"] != "/token"
    ]


def test_probes_that_find_all_well_are_not_logged(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    assert logged(start(), capsys, *PROBES, "/nothing") == [("/nothing", 404)]


def test_a_probe_that_finds_something_wrong_is_logged(
    start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    monkeypatch.setattr(service.app.state.access.watch, "failure", "no answer")
    monkeypatch.setattr(service.app.state.access.watch, "known", Snapshot())

    assert logged(service, capsys, "/health/ready") == [("/health/ready", 503)]


def test_a_sample_of_requests_is_logged_with_its_share_but_every_error(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start(access_log_sample=0.25)
    random.seed(0)
    for _ in range(400):
        service.client.get("/model-info")
        service.client.get("/nothing")
    service.app.state.access_log.stop()

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shares = {
        path: [line.get("sample") for line in lines if line.get("route") == path]
        for path in ("/nothing", "/model-info")
    }
    assert shares["/nothing"] == [None] * 400
    assert set(shares["/model-info"]) == {0.25}
    assert 70 < len(shares["/model-info"]) < 130


@pytest.mark.parametrize(("slow", "count"), [(0.0, 1), (60.0, 0)])
def test_a_slow_request_is_logged_whatever_the_sample(
    start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, slow: float, count: int
) -> None:
    monkeypatch.setattr("service.http.middleware._SLOW_SECONDS", slow)

    assert logged(start(access_log_sample=0), capsys, "/model-info") == [("/model-info", 200)] * count
