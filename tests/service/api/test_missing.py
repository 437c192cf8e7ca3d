"""A missing value is one thing: null, an empty cell, and each text that meant it in training."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

Learn = Callable[..., Any]
FORMS = ("json", "csv", "ndjson", "v2")
MISSING = [None, "", " ", "NA", " NA ", "-"]


def countries(delimiter: str = ",") -> bytes:
    """Return a table in which NA stands for no country, or for Namibia, and for no income."""
    rng = np.random.default_rng(0)
    lines = [delimiter.join(("country", "income", "member", "since", "note", "y"))]
    for place in range(200):
        country = rng.choice(["NA", "BW", "ZA", "NG"])
        income = rng.choice(["NA", "-", "", f"{rng.integers(1, 90_000) / 8}"], p=[0.05, 0.05, 0.05, 0.85])
        member = rng.choice(["NA", "true", "false"], p=[0.1, 0.45, 0.45])
        since = rng.choice(["NA", f"20{rng.integers(10, 30)}-0{rng.integers(1, 10)}-11"], p=[0.1, 0.9])
        y = int(rng.random() < (0.8 if country == "NA" else 0.3))
        lines.append(delimiter.join((country, income, member, since, f"{place} of one kind", str(y))))
    return ("\n".join(lines) + "\n").encode()


MISSING_TEXTS: dict[str, Any] = {"missing": ["NA", "-"], "ignore": ["note"]}
BY_COLUMN: dict[str, Any] = {"missing": {"*": ["NA", "-"], "country": []}, "ignore": ["note"]}


def ask(service: Any, form: str, rows: Sequence[dict[str, Any]]) -> Any:
    """Send rows in a form; return the answer."""
    if form == "json":
        return service.predict(*rows)
    if form == "ndjson":
        return service.post("\n".join(map(json.dumps, rows)), "application/x-ndjson")
    if form == "csv":
        out = io.StringIO()
        table = csv.DictWriter(out, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
        return service.post(out.getvalue(), "text/csv")
    kinds = {"number": "FP64", "boolean": "BOOL"}
    inputs = [
        {
            "name": feature.name,
            "shape": [len(rows)],
            "datatype": kinds.get(feature.type, "BYTES"),
            "data": [row[feature.name] for row in rows],
        }
        for feature in service.artifact.contract.features
    ]
    return service.client.post("/v2/models/shop/infer", json={"inputs": inputs}, headers=service.headers)


def scores(form: str, answer: Any) -> list[float]:
    """Return each row's probability of the class 1."""
    assert answer.status_code == 200, answer.text
    match form:
        case "json":
            return [each["1"] for each in answer.json()["probabilities"]]
        case "ndjson":
            return [json.loads(line)["probabilities"]["1"] for line in answer.text.splitlines()]
        case "csv":
            return [float(row["probability_1"]) for row in csv.DictReader(io.StringIO(answer.text, newline=""))]
        case _:
            return answer.json()["outputs"][1]["data"][1::2]  # type: ignore[no-any-return]  # numbers of JSON


@pytest.mark.parametrize("form", FORMS)
def test_null_an_empty_cell_and_each_text_of_data_missing_get_one_answer(learn: Learn, form: str) -> None:
    service = learn(countries(), **MISSING_TEXTS).service
    known = {"country": "BW", "income": 100.5, "member": True, "since": "2015-03-11"}
    for field in known:
        rows = [known | {field: text} for text in MISSING]
        found = scores(form, ask(service, form, rows))
        alone = [scores(form, ask(service, form, [row]))[0] for row in rows]

        assert len({*found, *alone}) == 1
        assert found[0] != scores(form, ask(service, form, [known]))[0]


@pytest.mark.parametrize("data", [MISSING_TEXTS, BY_COLUMN], ids=["for all columns", "by column"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_the_training_file_sent_back_gets_the_pipeline_s_scores(learn: Learn, data: Any, delimiter: str) -> None:
    content = countries(delimiter)
    learnt = learn(content, **data)
    without_target = "\n".join(line.rpartition(delimiter)[0] for line in content.decode().splitlines())

    answer = learnt.service.post(without_target, "text/csv")

    np.testing.assert_array_equal(np.array(scores("csv", answer), np.float32), learnt.scores[:, 1])
    # As rows of JSON too, with their texts and empty cells, and the column that is no feature.
    rows = [
        row | {name: json.loads(row[name]) for name in ("income", "member") if row[name] not in {"NA", "-", ""}}
        for row in csv.DictReader(io.StringIO(without_target), delimiter=delimiter)
    ]
    for form in ("json", "ndjson"):
        np.testing.assert_array_equal(
            np.array(scores(form, ask(learnt.service, form, rows)), np.float32), learnt.scores[:, 1]
        )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "cp1252"])
def test_the_training_file_s_encoding_is_taken_as_utf_8_is(learn: Learn, encoding: str) -> None:
    content = countries("\t").decode().replace("BW", "Côte d'Ivoire")
    learnt = learn(
        content.encode(encoding), **MISSING_TEXTS, encoding=None if encoding in {"utf-16", "utf-32"} else encoding
    )
    body = "\n".join(line.rpartition("\t")[0] for line in content.splitlines())
    whole = body.encode(encoding)
    pieces = [whole[:3], *(whole[start : start + 1001] for start in range(3, len(whole), 1001))]

    answers = [learnt.service.post(each, "text/csv") for each in (body.encode(), whole, iter(pieces))]

    for answer in answers:
        np.testing.assert_array_equal(np.array(scores("csv", answer), np.float32), learnt.scores[:, 1])
    if encoding != "cp1252":
        answer = learnt.service.post(whole[:-1], "text/csv")
        assert (answer.status_code, answer.json()["title"]) == (400, f"Not {encoding.upper()}")


def test_the_expected_form_of_a_wrong_cell_is_reported(learn: Learn) -> None:
    rows = "".join(f"{place % 9},{place};{place % 28 + 1}.03.2020;{place % 2}\n" for place in range(60))
    service = learn(f"x;day;y\n{rows}".encode()).service

    answer = service.post("x;day\n1.5;2020/03/32\n", "text/csv").json()["errors"]
    of_json = service.predict({"x": "1,5", "day": "soon"}).json()["errors"]

    assert [each["expected"] for each in answer] == [
        "a finite number with a decimal comma",
        "a date in ISO 8601 or in the form dmY",
    ]
    assert of_json[0]["expected"] == "a finite number"


def test_a_truth_value_may_be_sent_as_the_prepared_rows_have_it(learn: Learn) -> None:
    service = learn(countries(), **MISSING_TEXTS).service
    head = "country,income,member,since\n"

    answers = [service.post(f"{head}BW,100.5,{text},2015-03-11\n", "text/csv") for text in ("true", "1", "1.0")]

    assert len({answer.text for answer in answers}) == len({*scores("csv", answers[0])}) == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_text_may_be_a_country_in_one_column_and_no_value_in_another(learn: Learn, form: str) -> None:
    service = learn(countries(), **BY_COLUMN).service
    row = {"country": "NA", "income": 100.5, "member": True, "since": "2015-03-11"}
    found = scores(
        form, ask(service, form, [row | {"country": "NG"}, row, row | {"income": None}, row | {"income": "NA"}])
    )

    assert len({*found}) == 3
    assert found[2] == found[3]
    assert ask(service, form, [row | {"country": None}]).status_code == 422


def test_a_value_that_only_one_row_misses_may_be_missing_whatever_its_side_of_the_split(learn: Learn) -> None:
    for place in (0, 1, 2, 3, 4, 5):
        lines = [f"{number % 7}.5,{number},{number % 2}" for number in range(100)]
        lines[place] = f",{place},{place % 2}"
        service = learn("\n".join(["x,z,y", *lines]).encode()).service

        assert service.predict({"x": None, "z": 1}).status_code == 200


def test_columns_that_are_no_features_are_ignored_and_unknown_ones_refused(learn: Learn) -> None:
    service = learn(countries(), **MISSING_TEXTS).service
    row = {"country": "BW", "income": 100.5, "member": True, "since": "2015-03-11"}

    assert scores("json", service.predict(row | {"note": "any"})) == scores("json", service.predict(row))
    assert [error["field"] for error in service.predict(row | {"notes": 1, "y": 1}).json()["errors"]] == ["notes"]


@pytest.mark.parametrize("text", ["", " "])
def test_the_description_says_that_a_text_for_no_value_is_none(service: Any, text: str) -> None:
    schema = service.client.get("/openapi.json").json()["components"]["schemas"]
    wrong = re.compile(schema["Instance"]["properties"]["kind"]["not"]["pattern"])

    assert wrong.search(text)
    assert not wrong.search("a")
