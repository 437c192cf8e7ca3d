"""What machines ask every few seconds does not fill the log."""

import json
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
    monkeypatch.setattr(service.app.state.access.watch, "known", Snapshot(-1, {}))

    assert logged(service, capsys, "/health/ready") == [("/health/ready", 503)]
