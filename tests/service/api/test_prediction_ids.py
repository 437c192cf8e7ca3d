"""Ids of predictions, in each form of answer: what POST /feedback takes and the back-trace reads."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from service.routes.predict import read_query

Start = Callable[..., Any]
MANY = 2_500
"""Rows of a table of several blocks."""


def table(service: Any, kind: str, *rows: dict[str, Any], query: str = "?ids=true") -> Any:
    if kind == "text/csv":
        text = io.StringIO()
        lines = csv.DictWriter(text, rows[0].keys())
        lines.writeheader()
        lines.writerows(rows)
        content = text.getvalue()
    else:
        content = "\n".join(map(json.dumps, rows))
    headers = {**service.headers, "Content-Type": kind}
    return service.client.post(f"/predict{query}", content=content.encode(), headers=headers)


def predictions(answer: Any, kind: str) -> list[dict[str, Any]]:
    if kind == "text/csv":
        return list(csv.DictReader(io.StringIO(answer.text)))
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture(params=["text/csv", "application/x-ndjson"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_table_has_an_id_in_each_row_if_asked(service: Any, kind: str) -> None:
    found = predictions(table(service, kind, service.example, service.changed(size=-1.0)), kind)
    ids = [service.app.state.prediction_ids.read(row["prediction_id"]) for row in found]
    assert [each.predicted for each in ids] == [row["prediction"] for row in found]
    assert {each.version.hex() for each in ids} == {service.artifact.model.version}


def test_a_table_has_no_ids_unless_asked(service: Any, kind: str) -> None:
    plain = predictions(table(service, kind, service.example, query=""), kind)
    (named,) = predictions(table(service, kind, service.example), kind)
    assert named.pop("prediction_id")
    assert plain == [named]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        (b"", False),
        (b"ids=true", True),
        (b"ids=True", True),
        (b"ids=1&trace=7", True),
        (b"trace=7&ids=true", True),
        (b"ids=false", False),
        (b"ids=yes", True),
        (b"kids=\xff%ff&&=;", False),
        (b"kids=true", False),
    ],
)
def test_ids_accept_any_spelling_of_true_beside_other_parameters(query: bytes, *, asked: bool) -> None:
    assert read_query(query).ids is asked


@pytest.mark.parametrize("query", ["?ids", "?ids=maybe", "?ids=%ff"])
def test_a_query_with_neither_true_nor_false_is_refused(service: Any, kind: str, query: str) -> None:
    answer = table(service, kind, service.example, query=query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "ids")


def test_ids_of_several_blocks_are_different(service: Any, kind: str) -> None:
    found = predictions(table(service, kind, *[service.example] * MANY), kind)
    assert len({row["prediction_id"] for row in found}) == MANY


@pytest.mark.parametrize("target", ["multiclass", "boolean"])
def test_the_outcome_of_a_tables_row_is_accepted(start: Start, kind: str, target: str) -> None:
    service = start(target)
    (row,) = predictions(table(service, kind, service.example), kind)
    actual = {"1": 1, "2": 2, "3": 3, "true": True, "false": False}.get(str(row["prediction"]), row["prediction"])
    answer = service.client.post(
        "/feedback", json={"prediction_id": row["prediction_id"], "actual": actual}, headers=service.headers
    )
    assert answer.json() == {"status": "new"}
    assert service.metric("feedback_rows_total", outcome="correct") == 1


def test_ids_of_regressions_hold_the_number(start: Start, kind: str) -> None:
    service = start("regression")
    (row,) = predictions(table(service, kind, service.example), kind)
    found = service.app.state.prediction_ids.read(row["prediction_id"])
    assert found.predicted == pytest.approx(float(row["prediction"]))


def test_many_rows_of_json_have_their_ids_too(service: Any) -> None:
    body = json.dumps({"instances": [service.example] * 1000})
    headers = {**service.headers, "Content-Type": "application/json"}
    found = service.client.post("/predict?ids=true", content=body, headers=headers).json()["prediction_ids"]
    assert len(set(found)) == 1000


def infer(service: Any, **request: Any) -> dict[str, Any]:
    kinds = {"number": "FP64", "boolean": "BOOL"}
    inputs = [
        {
            "name": each.name,
            "shape": [2],
            "datatype": kinds.get(each.type, "BYTES"),
            "data": [service.example[each.name]] * 2,
        }
        for each in service.artifact.contract.features
    ]
    answer = service.client.post("/v2/models/shop/infer", json={"inputs": inputs, **request}, headers=service.headers)
    assert answer.status_code == 200, answer.text
    return {tensor["name"]: tensor for tensor in answer.json()["outputs"]}


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ({}, ["predictions", "probabilities"]),
        ({"parameters": {"prediction_ids": False}}, ["predictions", "probabilities"]),
        ({"parameters": {"prediction_ids": True}}, ["predictions", "probabilities", "prediction_ids"]),
        ({"outputs": [{"name": "predictions"}, {"name": "prediction_ids"}]}, ["predictions", "prediction_ids"]),
        (
            {"outputs": [{"name": "predictions"}], "parameters": {"prediction_ids": True}},
            ["predictions", "prediction_ids"],
        ),
    ],
)
def test_the_open_protocol_gives_ids_by_a_parameter_or_as_an_output(
    service: Any, request_: dict[str, Any], names: list[str]
) -> None:
    found = infer(service, **request_)
    assert list(found) == names
    if "prediction_ids" in names:
        assert (found["prediction_ids"]["datatype"], found["prediction_ids"]["shape"]) == ("BYTES", [2])
        ids = [service.app.state.prediction_ids.read(text) for text in found["prediction_ids"]["data"]]
        assert [each.predicted for each in ids] == found["predictions"]["data"]
        assert len({each.key for each in ids}) == 2


def test_metadata_names_the_output_that_must_be_asked_for(service: Any) -> None:
    metadata = service.client.get("/v2/models/shop").json()
    assert metadata["parameters"]["outputs_on_request"] == ["prediction_ids"]
    assert "prediction_ids" not in [output["name"] for output in metadata["outputs"]]
