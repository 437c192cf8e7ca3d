"""Whatever row the contract allows, in whatever form it comes: the answer is the pipeline's own."""

import csv
import io
import json
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.contract import Contract, Feature

# Without blanks around it, as the pipeline reads text: with them it is the same, which is a claim of its own.
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda text: text and text == text.strip())
_NUMBERS = st.one_of(st.floats(-3.4e38, 3.4e38), st.integers(-(10**30), 10**30), st.floats(-3, 3))
_DATES = st.datetimes()  # without a zone, as the contract has it


def values(feature: Feature) -> st.SearchStrategy[Any]:
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "number": _NUMBERS,
        "boolean": st.booleans(),
        "category": st.one_of(st.sampled_from(getattr(feature, "categories", [""])), _TEXT),
        "date": st.one_of(_DATES.map(lambda moment: moment.isoformat()), st.dates().map(lambda day: day.isoformat())),
    }
    return st.one_of(kinds[feature.type], st.none()) if feature.nullable else kinds[feature.type]


@st.composite
def instances(draw: st.DrawFn, contract: Contract) -> list[dict[str, Any]]:
    """Return one to four rows; nullable features may be missing."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        row = {feature.name: draw(values(feature)) for feature in contract.features}
        kept = {name: value for name, value in row.items() if value is not None or draw(st.booleans())}
        rows.append(dict(draw(st.permutations(list(kept.items())))))
    return rows


def check(service: Any, score: Any, rows: list[dict[str, Any]], answered: list[tuple[Any, dict[str, float]]]) -> None:
    expected = score(service.artifact, rows)
    classes = service.artifact.contract.classes
    given = np.array([[probabilities[name] for name in classes] for _, probabilities in answered], dtype=np.float32)
    np.testing.assert_array_equal(given, expected)
    assert [label for label, _ in answered] == service.artifact.model.labels(expected, 0.5)


@settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), escaped=st.booleans())
def test_json_agrees(service: Any, score: Any, data: st.DataObject, escaped: bool) -> None:
    rows = data.draw(instances(service.artifact.contract))
    answer = service.post(json.dumps({"instances": rows}, ensure_ascii=escaped))
    assert answer.status_code == 200, answer.text
    check(service, score, rows, list(zip(*list(answer.json().values())[:2], strict=True)))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_ndjson_agrees(service: Any, score: Any, data: st.DataObject) -> None:
    rows = data.draw(instances(service.artifact.contract))
    answer = service.post("\n".join(map(json.dumps, rows)), "application/x-ndjson")
    assert answer.status_code == 200, answer.text
    lines = [json.loads(line) for line in answer.text.split("\n") if line]
    check(service, score, rows, [(line["prediction"], line["probabilities"]) for line in lines])


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_csv_agrees(service: Any, score: Any, data: st.DataObject) -> None:
    rows = data.draw(instances(service.artifact.contract))
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, [feature.name for feature in service.artifact.contract.features])
    table.writeheader()
    table.writerows(rows)
    answer = service.post(text.getvalue(), "text/csv")
    assert answer.status_code == 200, answer.text
    lines = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    classes = service.artifact.contract.classes
    given_rows = [
        (line["prediction"], {name: float(line[f"probability_{name}"]) for name in classes}) for line in lines
    ]
    check(service, score, rows, given_rows)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)),
    st.sampled_from(["json", "csv", "x-ndjson"]),
)
def test_no_bytes_are_the_service_s_own_failure(service: Any, body: bytes, kind: str) -> None:
    answer = service.post(body, f"{'text' if kind == 'csv' else 'application'}/{kind}")
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
