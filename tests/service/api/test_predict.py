"""POST /predict with JSON."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

Start = Callable[..., Any]


def test_an_answer_names_labels_probabilities_and_the_model(service: Any) -> None:
    answer = service.predict(service.example, service.example).json()
    assert set(answer) == {"predictions", "probabilities", "model"}
    assert answer["model"] == {"name": "shop", "version": service.artifact.model.version}
    assert [set(each) for each in answer["probabilities"]] == [{"да", "нет"}] * 2


@pytest.mark.parametrize("target", ["binary", "boolean", "multiclass", "regression"])
def test_answers_are_those_of_the_pipeline_to_the_last_digit(start: Start, score: Any, target: str) -> None:
    service = start(target)
    rows = [service.changed(size=size, flag=flag) for size in (-1.5, 0.25, 0.5, 2) for flag in (True, False)]
    answer = service.predict(*rows).json()
    expected = score(service.artifact, rows)
    if target == "regression":
        assert set(answer) == {"predictions", "model"}
        np.testing.assert_array_equal(np.float32(answer["predictions"]), expected)
        return
    assert answer["predictions"] == service.artifact.model.labels(expected, 0.5)
    names = [str(label).lower() if label is not str(label) else label for label in service.artifact.contract.classes]
    given = [[row[name] for name in names] for row in answer["probabilities"]]
    np.testing.assert_array_equal(np.array(given, dtype=np.float32), expected)


@pytest.mark.parametrize(("threshold", "label"), [(0.0, "да"), (1.0, "нет")])
def test_the_threshold_of_the_artifact_decides(start: Start, threshold: float, label: str) -> None:
    service = start(threshold=threshold)
    assert service.artifact.contract.positive == "да"
    assert service.predict(service.example).json()["predictions"] == [label]


def test_probabilities_are_printed_in_the_fewest_digits(service: Any) -> None:
    text = service.predict(service.example).text
    for probability in json.loads(text)["probabilities"][0].values():
        assert str(np.float32(probability)) in text


def test_a_field_that_may_be_missing_may_be_left_out_or_null(service: Any) -> None:
    whole = service.changed(**{"a b": None, "shop": None, "when": None})
    short = {name: value for name, value in whole.items() if value is not None}
    assert service.predict(whole).json() == service.predict(short).json()


def test_a_date_may_have_a_time_and_a_zone(service: Any) -> None:
    same = ["2020-03-01", "2020-03-01T00:00:00", "2020-03-01T00:00:00.000Z", "2020-03-01 02:00:00+02:00"]
    answers = service.predict(*(service.changed(when=text) for text in same)).json()["probabilities"]
    assert answers == answers[:1] * len(same)


def test_values_beyond_training_are_answered_and_reported(service: Any) -> None:
    odd = service.changed(size=1e6, kind="three", when="1999-12-31")
    answer = service.predict(service.example, odd).json()
    assert answer["warnings"] == [
        {"instance": 1, "field": "size", "kind": "out_of_range"},
        {"instance": 1, "field": "kind", "kind": "unseen_category"},
        {"instance": 1, "field": "when", "kind": "out_of_range"},
    ]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("size", 1e6, "a finite number from "), ("kind", "three", "one of one, two"), ("when", "1999-12-31", "a date ")],
)
def test_a_strict_feature_refuses_them(start: Start, field: str, value: Any, expected: str) -> None:
    service = start(strict=("size", "kind", "when"))
    answer = service.predict(service.example, service.changed(**{field: value}))
    (error,) = answer.json()["errors"]
    assert answer.status_code == 422
    assert (error["instance"], error["field"], error["got"]) == (1, field, json.dumps(value))
    assert error["expected"].startswith(expected)


@pytest.mark.parametrize(
    ("field", "value", "got"),
    [
        ("size", "1.5", '"1.5"'),
        ("size", True, "true"),
        ("size", "", '""'),
        ("kind", "", '""'),
        ("flag", "", '""'),
        ("size", None, "null"),
        ("size", 10**400, "a number with too many digits"),
        ("size", 1e39, "1e+39"),
        ("size", [1], "an array of 1"),
        ("flag", 1, "1"),
        ("flag", "true", '"true"'),
        ("kind", 5, "5"),
        ("kind", {"a": 1}, "an object of 1"),
        ("when", "yesterday", '"yesterday"'),
        ("when", "2020-02-30", '"2020-02-30"'),
        ("when", "2020-02-01T00:00:00 Mars", '"2020-02-01T00:00:00 Mars"'),
        ("when", "2020-02-01+01:00", '"2020-02-01+01:00"'),
        ("when", "2020-02-01X01:00", '"2020-02-01X01:00"'),
        ("when", 0, "0"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected_and_what_came(
    service: Any, field: str, value: Any, got: str
) -> None:
    answer = service.predict(service.example, service.changed(**{field: value}))
    (error,) = answer.json()["errors"]
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert error == {"instance": 1, "field": field, "expected": error["expected"], "got": got}


@pytest.mark.parametrize("media", ["application/json", "text/csv"])
def test_rows_too_large_for_the_model_s_sums_are_named(start: Start, media: str) -> None:
    service = start("regression", model_name="ridge")
    rows = [service.example, service.changed(size=3e38, **{"a b": 3e38})]
    body = json.dumps({"instances": rows}) if media == "application/json" else pd.DataFrame(rows).to_csv(index=False)
    problem = service.post(body, media).json()
    assert (problem["status"], problem["title"], problem["error_count"]) == (422, "No number", 1)
    assert problem["errors"][0]["instance"] == 1


def test_a_field_that_must_be_there_is_named_when_it_is_not(service: Any) -> None:
    row = service.example
    del row["size"]
    assert service.predict(row).json()["errors"] == [
        {"instance": 0, "field": "size", "expected": "a finite number", "got": "nothing"}
    ]


def test_a_field_that_the_model_does_not_know_is_refused(service: Any) -> None:
    (error,) = service.predict(service.changed(colour="red")).json()["errors"]
    assert (error["field"], error["expected"]) == ("colour", "a feature of the model")


def test_the_target_of_a_training_row_is_ignored(service: Any) -> None:
    without, row = service.example, service.changed(y="да")
    assert service.predict(row).json() == service.predict(without).json()
    tables = [pd.DataFrame([each]).to_csv(index=False) for each in (row, without)]
    assert service.post(tables[0], "text/csv").text == service.post(tables[1], "text/csv").text


def test_all_errors_are_counted_and_the_first_twenty_named(service: Any) -> None:
    problem = service.predict(*[service.changed(size="x", flag=2)] * 15).json()
    assert problem["error_count"] == 30
    assert [each["instance"] for each in problem["errors"]] == [row for row in range(10) for _ in range(2)]


def test_as_many_instances_as_allowed_are_answered_and_one_more_is_not(start: Start) -> None:
    service = start(max_instances=1000)
    assert len(service.predict(*[service.example] * 1000).json()["predictions"]) == 1000
    assert service.predict(*[service.example] * 1001).status_code == 413


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[", 400),
        (b"\xff", 400),
        (b'{"instances": [{"kind": "\xff"}]}', 400),
        (b"[" * 100_000, 400),
        (b'{"instances":' * 50_000, 400),
        (b'{"instances": []}', 422),
        (b'{"instances": {}}', 422),
        (b'{"instances": [[]]}', 422),
        (b'{"instances": [null]}', 422),
        (b'{"instances": [NaN]}', 422),
        (b'{"instances": [{"size": Infinity}]}', 422),
        (b'{"instances": [{"size": 1e400}]}', 422),
        (b'{"instances": [{"size": ' + b"9" * 5000 + b"}]}", 422),
        (b'{"instances": [{}], "instances": [{}]}', 422),
        (b'{"instances": [{}], "more": 1}', 422),
        (b"{}", 422),
        (b"null", 422),
        (b'"\\ud800"', 422),
    ],
)
def test_a_body_that_is_wrong_is_a_problem_of_the_caller(service: Any, body: bytes, status: int) -> None:
    answer = service.post(body)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


@pytest.mark.parametrize("rows", [1, 100])
def test_a_duplicate_name_is_refused_beside_a_text_that_is_null(service: Any, rows: int) -> None:
    row = json.dumps(service.changed(shop=None))
    bodies = [
        '{"instances":[' + ",".join([each, *[row] * (rows - 1)]) + "]}" for each in (row, '{"size":99,' + row[1:])
    ]
    assert [service.post(body).status_code for body in bodies] == [200, 422]


@pytest.mark.parametrize("twice", ["size", "shop", "kind", "when", "a b"])
@pytest.mark.parametrize("left_out", ["nothing", "a b", "shop", "when"])
def test_a_duplicate_name_is_refused_even_if_another_is_missing(service: Any, twice: str, left_out: str) -> None:
    row = {name: value for name, value in service.example.items() if name != left_out}
    again = json.dumps({twice: service.example[twice]}, ensure_ascii=False)[1:-1]
    body = '{"instances": [' + json.dumps(row, ensure_ascii=False)[:-1] + ", " + again + "}]}"
    assert service.post(body).status_code == (422 if twice in row else 200)


def test_quotation_marks_in_text_are_not_a_second_name(service: Any) -> None:
    answer = service.predict(service.changed(kind='"size": 1, \\" "'))
    assert answer.status_code == 200
    assert answer.json()["warnings"][0]["kind"] == "unseen_category"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_a_body_of_another_kind_is_refused(service: Any, headers: dict[str, str]) -> None:
    sent = {**service.headers, "Content-Type": "application/json", **headers}
    answer = service.client.post("/predict", content=b'{"instances": []}', headers=sent)
    assert answer.status_code == 415


def test_the_media_type_may_have_parameters(service: Any) -> None:
    body = json.dumps({"instances": [service.example]})
    assert service.post(body, "Application/JSON; charset=UTF-8").status_code == 200


def test_a_body_over_the_limit_is_refused_by_what_it_declares_or_by_what_comes(start: Start) -> None:
    service = start(max_body_bytes=1024)
    declared = service.post(b" " * 2000)
    pieces = service.client.post(
        "/predict",
        content=iter([b" " * 1000] * 3),
        headers={**service.headers, "Content-Type": "application/json"},
    )
    assert (declared.status_code, pieces.status_code) == (413, 413)
    assert declared.headers["connection"] == "close"


def test_without_a_token_nothing_is_read(service: Any) -> None:
    answer = service.client.post("/predict", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_failure_of_the_service_is_a_problem_without_its_reason(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = start()
    monkeypatch.setattr(service.app.state.serving.current, "score", lambda *_: 1 / 0)
    answer = service.predict(service.example)
    assert (answer.status_code, answer.json()["title"]) == (500, "Internal Server Error")
    assert "ZeroDivision" not in answer.text
    assert "ZeroDivisionError" in caplog.text
