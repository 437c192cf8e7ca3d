"""Requests that come at the same moment, and models that change between them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

Start = Callable[..., Any]


def at_once(service: Any, rows: list[dict[str, Any]]) -> list[httpx.Response]:
    """Send each row in a request of its own, all in one moment."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=service.headers) as client:
            kind = {"Content-Type": "application/json"}
            bodies = [json.dumps({"instances": [row]}) for row in rows]
            return await asyncio.gather(*(client.post("/predict", content=body, headers=kind) for body in bodies))

    answers: list[httpx.Response] = service.client.call(send)
    return answers


@pytest.mark.parametrize("kinds", [("one", "two"), ("one", "three")])
def test_each_gets_its_own_answer(service: Any, kinds: tuple[str, ...]) -> None:
    rows = [service.changed(size=number / 10, kind=kind) for number in range(-20, 20) for kind in kinds]
    together = at_once(service, rows)
    assert [answer.json() for answer in together] == [service.predict(row).json() for row in rows]


def test_one_that_is_wrong_hurts_no_other(service: Any) -> None:
    answers = at_once(service, [service.example, service.changed(size="x"), service.example])
    assert [answer.status_code for answer in answers] == [200, 422, 200]


def test_each_row_is_counted_once(start: Start) -> None:
    service = start()
    at_once(service, [service.changed(kind="three")] * 30)
    assert service.metric("predictions_total") == 30
    assert service.metric("prediction_warnings_total") == 30


def test_a_failure_reaches_everyone_it_concerns(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = start()
    monkeypatch.setattr(service.app.state.serving.current, "score", lambda *_: 1 / 0)
    assert {answer.status_code for answer in at_once(service, [service.example] * 5)} == {500}


def test_a_model_whose_scores_depend_on_company_is_asked_alone(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = start()
    serving = service.app.state.serving
    assert serving.current.together is not None
    scores = type(serving.current.model).scores
    monkeypatch.setattr(
        type(serving.current.model), "scores", lambda self, matrix: scores(self, matrix) * np.float32(len(matrix))
    )
    serving.swap(serving.current.artifact)
    assert serving.current.together is None


def test_a_swap_changes_what_answers_and_what_model_info_says(start: Start, make_artifact: Callable[..., Any]) -> None:
    service = start()
    other = make_artifact("multiclass")
    before = service.predict(service.example).json()["model"]["version"]
    artifact = type(service.app.state.serving.current.artifact)
    service.app.state.serving.swap(artifact(other.model, 0.5, "other", {}, {}, ""))
    answer = service.predict(service.example).json()
    assert answer["model"] == {"name": "other", "version": other.model.version}
    assert answer["predictions"][0] in {1, 2, 3}
    assert service.client.get("/model-info").json()["version"] == other.model.version
    assert list(service.client.get("/openapi.json").json()["info"]["title"].split())[-1] == "other"
    assert service.metric("predictions_total", version=before) == 1
    assert service.metric("model_info", version=before) == 0
