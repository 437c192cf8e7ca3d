"""Derived features: callers send the columns of the table, and get the scores that training would give."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stages.features.parts import cut

Learn = Callable[..., Any]
FEATURES = {
    "speed": "distance / minutes",
    "is fast": "speed > 2 and not missing(minutes)",
    "rest": 'days_between(column("last seen"), start)',
    "rush": "sin(hour(start), 24)",
    "near": "carrier in ['UA', 'B6']",
    "home": "carrier == base",
}


def flights(rows: int = 120) -> bytes:
    """Return a table of CSV with decimal commas, dates of the form dmY and empty cells."""
    rng = np.random.default_rng(0)
    start = np.datetime64("2024-01-01T00:00") + rng.integers(0, 500_000, rows).astype("timedelta64[m]")
    seen = start - rng.integers(0, 90_000, rows).astype("timedelta64[m]")
    lines = ["distance;minutes;carrier;base;start;last seen;y"]
    for row in range(rows):
        distance, minutes = rng.integers(100, 3000), rng.normal(300, 90)
        shown = [each[row].item().strftime("%d/%m/%Y %H:%M") for each in (start, seen)]
        carrier, base = rng.choice(["UA", "B6", "DL"], 2)
        cells = [distance, "" if row % 7 == 0 else f"{minutes:.2f}".replace(".", ","), carrier, base, *shown]
        late = int(distance / minutes + rng.normal() > 5)
        lines.append(";".join(map(str, [*cells, late])))
    return "\n".join(lines).encode()


def without_target(content: bytes) -> str:
    return "\n".join(line.rpartition(";")[0] for line in content.decode().splitlines())


def test_a_table_and_rows_get_the_scores_of_the_training_graph(learn: Learn) -> None:
    content = flights()
    learnt = learn(content, "hist_gradient_boosting", FEATURES)

    answer = learnt.service.post(without_target(content), "text/csv")

    table = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    found = np.array([float(row["probability_1"]) for row in table], np.float32)
    np.testing.assert_array_equal(found, learnt.scores[:, 1])
    rows = [
        row
        | {
            "distance": int(row["distance"]),
            "minutes": float(row["minutes"].replace(",", ".")) if row["minutes"] else None,
        }
        for row in csv.DictReader(io.StringIO(without_target(content)), delimiter=";")
    ]
    together = learnt.service.predict(*rows).json()["probabilities"]
    np.testing.assert_array_equal(np.array([each["1"] for each in together], np.float32), learnt.scores[:, 1])
    alone = [learnt.service.predict(row).json()["probabilities"][0]["1"] for row in rows[:20]]
    np.testing.assert_array_equal(np.array(alone, np.float32), learnt.scores[:20, 1])


def test_features_of_a_request_are_those_computed_by_hand(learn: Learn) -> None:
    service = learn(flights(), "hist_gradient_boosting", FEATURES).service
    model = service.artifact.model
    parts = cut(model, service.artifact.root.model.read_bytes())
    reader = service.app.state.serving.current.reader
    row = {
        "distance": 700,
        "minutes": 250.5,
        "carrier": "UA",
        "base": "UA",
        "start": "2024-03-01T06:00:00",
        "last seen": "2024-02-28 18:00",
    }
    numbers = reader.read_request(json.dumps({"instances": [row]}).encode(), 1)
    matrix = np.ascontiguousarray(numbers[:, : len(model.contract.columns)])

    derived = parts.derive(matrix)[0, -len(FEATURES) :]

    assert derived.tolist() == [np.float32(700 / 250.5), 1, 1.5, 1, 1, 1]


def test_columns_that_only_features_use_are_inputs(learn: Learn) -> None:
    service = learn(flights(), features={"speed": "distance / minutes"}, ignore=["minutes", "base"]).service
    row = service.example

    info = service.client.get("/model-info", headers=service.headers).json()
    answer = service.predict(row | {"minutes": 1e4})

    assert [each["name"] for each in info["features"]] == ["distance", "minutes", "carrier", "start", "last seen"]
    assert info["derived"] == {"speed": "distance / minutes"}
    assert service.predict(row | {"base": "UA"}).status_code == 200
    assert answer.json()["warnings"] == [{"instance": 0, "field": "minutes", "kind": "out_of_range"}]


@pytest.mark.parametrize("path", ["/predict", "/predict as CSV", "/v2/models/shop/infer"])
def test_a_request_with_a_derived_feature_learns_that_the_model_computes_it(learn: Learn, path: str) -> None:
    service = learn(flights(), features={"speed": "distance / minutes"}, ignore=["base"]).service
    row = service.example | {"speed": 3}

    if path == "/predict":
        answer = service.predict(row)
    elif path == "/predict as CSV":
        answer = service.post(f"{';'.join(row)}\n{';' * (len(row) - 1)}\n", "text/csv")
    else:
        tensor = {"name": "speed", "shape": [1], "datatype": "FP64", "data": [3]}
        answer = service.client.post(path, content=json.dumps({"inputs": [tensor]}), headers=service.headers)

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "speed")
    assert error["expected"] == "nothing, because the model computes this feature; leave it out"


@pytest.mark.parametrize("minutes", [0, None, -0.0])
def test_a_result_that_is_no_number_counts_as_missing(learn: Learn, minutes: float | None) -> None:
    service = learn(flights(), "random_forest", {"speed": "distance / minutes"}, ignore=["minutes"]).service

    found = [service.predict(service.example | {"minutes": each}).json()["probabilities"] for each in (minutes, None)]

    assert found[0] == found[1]
