"""POST /predict?coverage=0.9: intervals and sets that contain the truth with this probability."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from service import model
from service.contract import METADATA_KEY
from tests.service.artifacts import Root, with_coverage

Start = Callable[..., Any]


@pytest.fixture
def covered(make_artifact: Any, tmp_path: Path, start: Start) -> Start:
    """Return a function that starts an API with a model whose file has errors for intervals and sets."""

    def serve(target: str, **changes: Any) -> Any:
        plain = make_artifact(target)
        released = Root(tmp_path / target)
        released.write(with_coverage(plain.root.model, **changes), b'{"threshold": 0.5}', name="shop")
        return start(artifact=type(plain)(released, model.load(released.model)))

    return serve


def predict(service: Any, *rows: Any, query: str = "?coverage=0.9") -> Any:
    body = json.dumps({"instances": rows})
    headers = {**service.headers, "Content-Type": "application/json"}
    return service.client.post(f"/predict{query}", content=body, headers=headers)


def varied(service: Any) -> list[dict[str, Any]]:
    return [service.changed(size=size / 10, flag=size % 2 == 0) for size in range(-20, 25)]


@pytest.mark.parametrize(("level", "bound"), [("0.9", 0.9), ("0.5", 0.5), ("0.005", 0.01), ("0.99", 0.99)])
def test_an_interval_reaches_as_far_as_the_error_at_the_level(covered: Start, level: str, bound: float) -> None:
    service = covered("regression")
    answer = predict(service, *varied(service), query=f"?coverage={level}").json()
    expected = [pytest.approx([value - bound, value + bound], abs=1e-6) for value in answer["predictions"]]
    assert answer["intervals"] == expected
    assert "sets" not in answer


@pytest.mark.parametrize("target", ["binary", "boolean", "multiclass"])
@pytest.mark.parametrize("level", [0.2, 0.7, 0.9])
def test_a_set_has_the_classes_whose_probability_is_high_enough(covered: Start, target: str, level: float) -> None:
    service = covered(target)
    answer = predict(service, *varied(service), query=f"?coverage={level}").json()
    classes = service.artifact.contract.classes
    rows = [list(row.values()) for row in answer["probabilities"]]
    expected = [[each for each, p in zip(classes, row, strict=True) if np.float32(p) >= 1 - level] for row in rows]
    assert answer["sets"] == expected
    assert "intervals" not in answer


def test_without_a_level_the_answer_is_the_same(covered: Start) -> None:
    service = covered("binary")
    answer = predict(service, service.example).json()
    del answer["sets"]
    assert answer == service.predict(service.example).json()


def test_ids_and_sets_come_together(covered: Start) -> None:
    service = covered("binary")
    answer = predict(service, service.example, query="?ids=true&coverage=0.9").json()
    assert list(answer)[-2:] == ["prediction_ids", "sets"]


@pytest.mark.parametrize("value", ["0", "1", "1.5", "-0.1", "nan", "inf", "high", "", "1e400"])
def test_a_level_that_is_not_between_0_and_1_is_refused(covered: Start, value: str) -> None:
    service = covered("binary")
    answer = predict(service, service.example, query=f"?coverage={value}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "coverage")


def test_a_level_that_so_few_rows_cannot_promise_is_refused(covered: Start) -> None:
    service = covered("binary")
    answer = predict(service, service.example, query="?coverage=0.995")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "coverage")
    assert "99 calibration units allow at most 0.99" in answer.json()["detail"]


def test_few_groups_count_and_not_their_rows(covered: Start) -> None:
    service = covered("regression", units=9)
    answer = predict(service, service.example, query="?coverage=0.5").json()
    low, high = answer["intervals"][0]
    assert high - low == pytest.approx(2 * 0.55)
    assert predict(service, service.example, query="?coverage=0.91").status_code == 422


def test_a_model_without_errors_is_named(service: Any) -> None:
    answer = predict(service, service.example)
    assert (answer.status_code, answer.json()["title"]) == (409, "No coverage")


@pytest.mark.parametrize("target", ["regression", "multiclass"])
def test_tables_have_the_same_intervals_and_sets(covered: Start, target: str) -> None:
    service = covered(target)
    rows = varied(service)
    answer = predict(service, *rows, query="?coverage=0.7").json()
    name = "intervals" if target == "regression" else "sets"

    def post(content: str, kind: str) -> str:
        headers = {**service.headers, "Content-Type": kind}
        return str(service.client.post("/predict?coverage=0.7", content=content, headers=headers).text)

    lines = [json.loads(line) for line in post("\n".join(map(json.dumps, rows)), "application/x-ndjson").splitlines()]
    assert [each[name.removesuffix("s")] for each in lines] == answer[name]
    header = ",".join(rows[0])
    cells = ["" if value is None else json.dumps(value).strip('"') for row in rows for value in row.values()]
    width = len(rows[0])
    table = "\n".join([header, *(",".join(cells[at : at + width]) for at in range(0, len(cells), width))])
    read = list(csv.DictReader(post(table, "text/csv").splitlines()))
    if target == "regression":
        assert [[float(each["low"]), float(each["high"])] for each in read] == answer[name]
    else:
        assert [json.loads(each["set"]) for each in read] == answer[name]


@pytest.mark.parametrize(("target", "actual"), [("regression", 0.85), ("multiclass", 2), ("binary", "нет")])
def test_feedback_counts_whether_the_truth_was_inside(covered: Start, target: str, actual: Any) -> None:
    service = covered(target, levels=(0.7,))
    rows = varied(service)
    answer = predict(service, *rows, query="?coverage=0.7&ids=true").json()
    entries = [{"prediction_id": each, "actual": actual} for each in answer["prediction_ids"]]
    service.client.post("/feedback", json={"feedback": entries}, headers=service.headers)
    if target == "regression":
        inside = sum(low <= actual <= high for low, high in answer["intervals"])
    else:
        inside = sum(actual in each for each in answer["sets"])
    assert 0 < inside < len(rows)
    assert service.metric("feedback_coverage_rows_total", outcome="inside") == inside
    assert service.metric("feedback_coverage_rows_total", outcome="outside") == len(rows) - inside
    assert 'model_coverage_level{version="' in service.client.get("/metrics").text


def test_a_model_without_errors_counts_no_coverage(start: Start) -> None:
    service = start()
    answer = predict(service, service.example, query="?ids=true").json()
    entry = {"prediction_id": answer["prediction_ids"][0], "actual": answer["predictions"][0]}
    assert service.client.post("/feedback", json=entry, headers=service.headers).json() == {"status": "new"}
    assert service.metric("feedback_coverage_rows_total") == 0
    assert "model_coverage_level{" not in service.client.get("/metrics").text


def test_the_sets_of_very_long_names_are_not_in_ids(start: Start, make_artifact: Any, tmp_path: Path) -> None:
    plain = make_artifact("multiclass")
    graph = onnx.load_model_from_string(with_coverage(plain.root.model))
    names = tuple(f"{number}{'x' * 400}" for number in range(3))
    contract = plain.contract.model_copy(update={"classes": names}).model_dump_json()
    next(each for each in graph.metadata_props if each.key == METADATA_KEY).value = contract
    released = Root(tmp_path / "long")
    released.write(graph.SerializeToString(), b"{}", name="shop")
    service = start(artifact=type(plain)(released, model.load(released.model)))
    answer = predict(service, service.example, query="?ids=true&coverage=0.9")
    assert answer.is_success
    assert len(answer.json()["prediction_ids"][0]) < 1000


def infer(service: Any, rows: list[dict[str, Any]], **parameters: Any) -> Any:
    kinds = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "date": "BYTES"}
    inputs = [
        {
            "name": feature.name,
            "shape": [len(rows)],
            "datatype": kinds[feature.type],
            "data": [row.get(feature.name) for row in rows],
        }
        for feature in service.artifact.contract.features
    ]
    body = json.dumps({"inputs": inputs, "parameters": parameters})
    return service.client.post("/v2/models/shop/infer", content=body, headers=service.headers)


@pytest.mark.parametrize("target", ["regression", "multiclass"])
def test_the_inference_protocol_has_them_as_a_tensor(covered: Start, target: str) -> None:
    service = covered(target)
    rows = varied(service)
    answer = predict(service, *rows, query="?coverage=0.7").json()
    output = infer(service, rows, coverage=0.7).json()["outputs"][-1]
    if target == "regression":
        expected, about = [end for each in answer["intervals"] for end in each], ("intervals", [len(rows), 2], "FP64")
    else:
        classes = service.artifact.contract.classes
        expected = [label in each for each in answer["sets"] for label in classes]
        about = "sets", [len(rows), 3], "BOOL"
    assert (output["name"], output["shape"], output["datatype"]) == about
    assert output["data"] == expected
    assert service.client.get("/v2/models/shop").json()["parameters"]["outputs_on_request"][-1] == about[0]


@pytest.mark.parametrize("level", [0, 1, 1.5, "0.9", True])
def test_the_inference_protocol_refuses_other_levels(covered: Start, level: Any) -> None:
    service = covered("binary")
    answer = infer(service, [service.example], coverage=level)
    assert (answer.status_code, "`$.parameters.coverage`" in answer.json()["detail"]) == (422, True)


def test_the_description_has_intervals_or_sets(covered: Start) -> None:
    for target, name in (("regression", "intervals"), ("binary", "sets")):
        document = covered(target).client.get("/openapi.json").json()
        assert {"intervals", "sets"} & document["components"]["schemas"]["PredictResponse"]["properties"].keys() == {
            name
        }
