"""Requests that come at the same moment, and models that change between them."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from service.scoring import artifact
from service.scoring.batches import Batches

Start = Callable[..., Any]


def at_once(service: Any, requests: list[list[dict[str, Any]]]) -> list[httpx.Response]:
    """Send the requests, of these rows each, all in one moment."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=service.headers) as client:
            kind = {"Content-Type": "application/json"}
            bodies = [json.dumps({"instances": rows}) for rows in requests]
            return await asyncio.gather(*(client.post("/predict", content=body, headers=kind) for body in bodies))

    answers: list[httpx.Response] = service.client.call(send)
    return answers


@pytest.mark.parametrize("kinds", [("one", "two"), ("one", "three")])
def test_each_gets_its_own_answer(service: Any, kinds: tuple[str, ...]) -> None:
    rows = [service.changed(size=number / 10, kind=kind) for number in range(-20, 20) for kind in kinds]
    together = at_once(service, [[row] for row in rows])
    assert [answer.json() for answer in together] == [service.predict(row).json() for row in rows]


def test_one_that_is_wrong_hurts_no_other(service: Any) -> None:
    answers = at_once(service, [[service.example], [service.changed(size="x")], [service.example]])
    assert [answer.status_code for answer in answers] == [200, 422, 200]


@pytest.mark.parametrize("target", ["binary", "multiclass", "regression"])
def test_larger_ones_get_their_own_answers_too(start: Start, target: str) -> None:
    service = start(target)
    kinds = ["one", "two", "three"]  # the third was not seen in training
    requests = [
        [service.changed(size=(number + row) / 10, kind=kinds[row % (1 + number % 3)]) for row in range(100 + number)]
        for number in range(12)
    ]
    together = at_once(service, requests)
    assert [answer.json() for answer in together] == [service.predict(*rows).json() for rows in requests]
    assert any("warnings" in answer.json() for answer in together)


@pytest.mark.parametrize(("requests", "rows"), [(30, 1), (2, 100)])
def test_each_row_is_counted_once(start: Start, requests: int, rows: int) -> None:
    service = start()
    at_once(service, [[service.changed(kind="three")] * rows] * requests)
    assert service.metric("predictions_total") == requests * rows
    assert service.metric("prediction_warnings_total") == requests * rows
    assert service.metric("prediction_instances_count") == requests


def test_no_run_has_many_more_rows_than_keep_others_waiting(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = start()
    model = type(service.app.state.serving.current.model)
    scores, sizes = model.scores, []

    def noting(self: Any, matrix: Any) -> Any:
        sizes.append(len(matrix))
        return scores(self, matrix)

    monkeypatch.setattr(model, "scores", noting)
    at_once(service, [[service.example] * 100] * 12)
    assert sum(sizes) == 1200
    assert max(sizes) <= 600


@pytest.mark.parametrize("rows", [1, 100])
def test_a_failure_reaches_everyone_it_concerns(start: Start, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    service = start()
    monkeypatch.setattr(service.app.state.serving.current, "score", lambda *_: 1 / 0)
    assert {answer.status_code for answer in at_once(service, [[service.example] * rows] * 5)} == {500}


def test_a_model_whose_scores_depend_on_other_rows_gets_each_request_separately(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    serving, sizes = service.app.state.serving, []
    scores = type(serving.current.model).scores

    def depending(self: Any, matrix: Any) -> Any:
        sizes.append(len(matrix))
        return scores(self, matrix) / np.float32(len(matrix))

    monkeypatch.setattr(type(serving.current.model), "scores", depending)
    serving.swap(serving.current.artifact)
    sizes.clear()
    at_once(service, [[service.example]] * 5)
    assert sizes == [1] * 5


def test_a_swap_while_requests_wait_leaves_them_to_the_model_that_read_them(
    start: Start, make_artifact: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    serving, other = service.app.state.serving, artifact.load(make_artifact("multiclass").settings())
    before, run = serving.current, Batches._run

    def swapping(self: Any) -> None:
        monkeypatch.undo()
        serving.swap(other)
        run(self)

    monkeypatch.setattr(Batches, "_run", swapping)
    for version in (before.model.version, other.model.version):
        answers = at_once(service, [[service.example] * 2] * 6)
        assert {answer.json()["model"]["version"] for answer in answers} == {version}
        assert service.metric("predictions_total", version=version) == 12


def test_callers_that_leave_do_not_affect_others(service: Any) -> None:
    served, batches = service.app.state.serving.current, Batches()
    numbers = served.reader.read_request(json.dumps({"instances": [served.example]}).encode(), 1)

    async def scenario() -> list[Any]:
        asked = [asyncio.ensure_future(batches.score(served, numbers)) for _ in range(6)]
        await asyncio.sleep(0)
        for gone in asked[::2]:
            gone.cancel()
        async with asyncio.timeout(5):
            return list(await asyncio.gather(*asked, return_exceptions=True))

    assert [type(each).__name__ for each in asyncio.run(scenario())] == ["CancelledError", "Scored"] * 3


@pytest.mark.parametrize("row", [{"size": 3.4e38}, {"kind": "three"}])
def test_one_that_the_model_or_a_strict_feature_refuses_hurts_no_other(start: Start, row: dict[str, Any]) -> None:
    service = start("regression", strict=("kind",), model_name="ridge")
    answers = at_once(service, [[service.example], [service.example, service.changed(**row)], [service.example]])
    assert [answer.status_code for answer in answers] == [200, 422, 200]
    assert [error["instance"] for error in answers[1].json()["errors"]] == [1]
    assert service.metric("predictions_total") == 2


def test_a_swap_changes_predictions_and_model_info(start: Start, make_artifact: Callable[..., Any]) -> None:
    service = start()
    other = artifact.load(make_artifact("multiclass").settings())
    other = replace(other, release=other.release.model_copy(update={"name": "other"}))
    before = service.predict(service.example).json()["model"]["version"]
    service.app.state.serving.swap(other)
    answer = service.predict(service.example).json()
    assert answer["model"] == {"name": "other", "version": other.model.version}
    assert answer["predictions"][0] in {1, 2, 3}
    assert service.client.get("/model-info").json()["version"] == other.model.version
    assert list(service.client.get("/openapi.json").json()["info"]["title"].split())[-1] == "other"
    assert service.metric("predictions_total", version=before) == 1
    assert service.metric("model_info", version=before) == 0


def test_many_rows_are_answered_in_their_order(service: Any) -> None:
    rows = [service.changed(size=number % 37 / 10, kind=["one", "two"][number % 2]) for number in range(500)]
    alone = [service.predict(row).json()["probabilities"][0] for row in rows[:74]]
    assert service.predict(*rows).json()["probabilities"][:74] == alone
