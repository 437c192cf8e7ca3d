"""POST /predict?explain=true: why a prediction came out."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.contract import Contract
from service.shapley import to_text
from tests.service.artifacts import Root, contract

Start = Callable[..., Any]
SCORES: dict[str, Callable[[Any, int], float]] = {
    "binary": lambda answer, row: answer["probabilities"][row]["да"],
    "multiclass": lambda answer, row: answer["probabilities"][row][str(answer["predictions"][row])],
    "regression": lambda answer, row: answer["predictions"][row],
}


def explain(service: Any, *rows: Any, query: str = "?explain=true", kind: str = "application/json") -> Any:
    headers = {**service.headers, "Content-Type": kind}
    return service.client.post(f"/predict{query}", content=json.dumps({"instances": rows}), headers=headers)


@pytest.mark.parametrize("model", ["hist_gradient_boosting", "linear"])
@pytest.mark.parametrize("target", SCORES)
def test_base_value_and_contributions_add_up_to_the_score(start: Start, target: str, model: str) -> None:
    linear = "ridge" if target == "regression" else "logistic_regression"
    service = start(target, model_name=linear if model == "linear" else model)
    rows = [service.example, service.changed(size=-1.0, shop=None, when=None), service.changed(flag=True, kind="new")]

    answer = explain(service, *rows).json()

    features = [each.name for each in service.artifact.contract.features]
    assert [list(each) for each in answer["explanations"]] == [["base_value", *features]] * 3
    for row, explanation in enumerate(answer["explanations"]):
        assert sum(explanation.values()) == pytest.approx(SCORES[target](answer, row), abs=1e-6)
    assert answer["explanation_errors"] == [0, 0, 0]


def test_without_explanations_the_answer_is_the_same(service: Any) -> None:
    explained = explain(service, service.example, query="?explain=1&ids=false").json()
    del explained["explanations"], explained["explanation_errors"]
    assert (
        explained
        == service.predict(service.example).json()
        == explain(service, service.example, query="?explain=0").json()
    )


def test_the_feature_that_decides_contributes_most(service: Any) -> None:
    (found,) = explain(service, service.changed(size=3.0, flag=True)).json()["explanations"]
    assert max(found, key=lambda name: (name != "base_value") * found[name]) in {"size", "flag"}


def test_ids_and_explanations_come_together(service: Any) -> None:
    answer = explain(service, service.example, query="?ids=true&explain=true").json()
    assert list(answer)[-3:] == ["prediction_ids", "explanations", "explanation_errors"]


@pytest.mark.parametrize("query", ["?explain", "?explain=maybe", "?explain=%ff", "?ids=true&explain=2"])
def test_a_query_with_neither_true_nor_false_is_refused(service: Any, query: str) -> None:
    answer = explain(service, service.example, query=query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "explain")


@pytest.mark.parametrize("kind", ["text/csv", "application/x-ndjson"])
def test_tables_are_not_explained(service: Any, kind: str) -> None:
    answer = explain(service, service.example, kind=kind)
    assert answer.status_code == 415
    assert "JSON" in answer.json()["detail"]


def test_too_many_rows_are_refused(start: Start) -> None:
    service = start(max_explained=2)
    assert explain(service, *[service.example] * 2).is_success
    answer = explain(service, *[service.example] * 3)
    assert (answer.status_code, "at most 2 instances" in answer.json()["detail"]) == (413, True)


@pytest.fixture
def answer_of(serve: Any, service: Any, tmp_path: Path) -> Callable[..., httpx.Response]:
    """Return a function that serves a model's file and asks it to explain an instance."""

    def answer(content: bytes, **instance: float) -> httpx.Response:
        root = Root(tmp_path)
        root.write(content, b"{}")
        with serve(type(service.artifact)(root, None), tmp_path) as (address, app):
            token = app.state.access.tokens.issue("anna", ["predict"], app.state.access.watch.known.revision + 1)[0]
            url, headers = f"http://{address}/predict?explain=true", {"Authorization": f"Bearer {token}"}
            return httpx.post(url, json={"instances": [instance]}, headers=headers, trust_env=False)

    return answer


def regression(background: list[float] | None = None, names: tuple[str, str] = ("x0", "x1")) -> bytes:
    """Return a model that predicts x0 - x1, with one background row."""
    features = [each.model_copy(update={"name": name}) for each, name in zip(contract().features, names, strict=True)]
    about = contract(task="regression", classes=(), positive=None, features=features)
    metadata = {} if background is None else {"background": to_text(np.array([background], np.float32))}
    return linear([[1], [-1]], [helper.make_node("Identity", ["sums"], ["scores"])], about, metadata)


def linear(weights: list[list[float]], nodes: list[Any], about: Contract, metadata: dict[str, str]) -> bytes:
    """Return a model whose `nodes` turn weighted sums of two columns into scores."""
    made = helper.make_graph(
        [helper.make_node("MatMul", ["X", "weights"], ["sums"]), *nodes],
        "model",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, len(weights[0])])],
        [numpy_helper.from_array(np.array(weights, np.float32), "weights")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, {"contract": about.model_dump_json(), **metadata})
    return bytes(model.SerializeToString())


def test_a_class_chosen_by_its_costs_is_the_one_explained(answer_of: Callable[..., httpx.Response]) -> None:
    costs = [[0, 9, 9], [9, 0, 9], [99, 99, 0]]  # to miss c costs most
    metadata = {"costs": json.dumps(costs), "background": to_text(np.zeros((1, 2), np.float32))}
    about = contract(task="multiclass", classes=("a", "b", "c"), positive=None)
    nodes = [helper.make_node("Softmax", ["sums"], ["scores"], axis=1)]

    answer = answer_of(linear([[1, 0, 0], [0, 1, 0]], nodes, about, metadata), x0=0.9, x1=0.1).json()

    assert answer["predictions"] == ["c"]
    assert sum(answer["explanations"][0].values()) == pytest.approx(answer["probabilities"][0]["c"], abs=1e-6)


def test_contributions_are_those_computed_by_hand(answer_of: Callable[..., httpx.Response]) -> None:
    answer = answer_of(regression([1.0, 5.0]), x0=4.0, x1=2.0).json()
    assert (answer["predictions"], answer["explanation_errors"]) == ([2.0], [0.0])
    assert answer["explanations"] == [{"base_value": -4.0, "x0": 3.0, "x1": 3.0}]


def test_contributions_add_up_to_the_digits_that_are_sent(answer_of: Callable[..., httpx.Response]) -> None:
    answer = answer_of(regression([1.0, 5.0]), x0=123456.789, x1=0.0).json()
    assert answer["predictions"] == [123456.79]  # as float32, it is 123456.7890625
    assert sum(answer["explanations"][0].values()) == pytest.approx(123456.79, abs=1e-6)


def test_an_older_release_has_no_explanations(answer_of: Callable[..., httpx.Response]) -> None:
    answer = answer_of(regression(), x0=0.5, x1=0.5)
    assert (answer.status_code, "run `dvc repro` and `make promote`" in answer.json()["detail"]) == (409, True)


def test_a_feature_cannot_have_the_name_of_the_base_value(answer_of: Callable[..., httpx.Response]) -> None:
    answer = answer_of(regression([1.0, 5.0], ("x0", "base_value")), x0=0.5, base_value=0.5)
    assert (answer.status_code, "base_value" in answer.json()["detail"]) == (409, True)


def test_sums_that_overflow_are_refused(answer_of: Callable[..., httpx.Response]) -> None:
    answer = answer_of(regression([-3e38, 3e38]), x0=3e38, x1=3e38)
    assert (answer.status_code, answer.json()["title"]) == (422, "No number")


def test_explanations_wait_for_each_other_and_hold_up_no_prediction(service: Any) -> None:
    async def send() -> tuple[list[int], bool]:
        headers, body = service.headers, {"instances": [service.example] * 50}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://test") as client:
            asked = [
                asyncio.create_task(client.post("/predict?explain=true", json=body, headers=headers)) for _ in range(14)
            ]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert (await client.post("/predict", json=body, headers=headers)).is_success
            is_first = not all(each.done() for each in asked)
            answers = await asyncio.gather(*asked)
        assert {each.headers.get("Retry-After") for each in answers if each.status_code == 429} == {"2"}
        return sorted(each.status_code for each in answers), is_first

    assert service.client.call(send) == ([200] * 9 + [429] * 5, True)


def test_nobody_gets_an_explanation_after_disconnecting(service: Any) -> None:
    async def leave(scope: Any, receive: Any, send: Any) -> None:
        came: list[Any] = [{"more_body": True}]
        sent: list[Any] = []

        async def receive_body() -> Any:
            came.append(await receive() if came[-1].get("more_body") else {"type": "http.disconnect"})
            return came[-1]

        async def keep(message: Any) -> None:
            sent.append(message)

        await service.app(scope, receive_body, keep)
        assert sent == []
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask() -> None:
        headers, body = service.headers, {"instances": [service.example] * 50}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(leave), base_url="http://test") as client:
            await client.post("/predict?explain=true", json=body, headers=headers)

    service.client.call(ask)
    assert explain(service, service.example).is_success
