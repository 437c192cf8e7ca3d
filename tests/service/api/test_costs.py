"""The service predicts the class with the least expected cost, and explains that class."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest

from service import model
from service.contract import COSTS_KEY
from tests.service.artifacts import Root

# To predict 2 or 3 for a row of class 1 costs much, everything else 1.
COSTS = [[0, 50, 50], [1, 0, 1], [1, 1, 0]]


@pytest.fixture
def with_costs(make_artifact: Any, tmp_path: Path) -> Any:
    """Return the artifact of three classes, with costs in its file."""
    plain = make_artifact("multiclass")
    graph = onnx.load(plain.root.model)
    graph.metadata_props.add(key=COSTS_KEY, value=json.dumps(COSTS))
    released = Root(tmp_path)
    released.write(graph.SerializeToString(), b'{"threshold": 0.5}', name="shop")
    return dataclasses.replace(plain, root=released, model=model.load(released.model))


def test_the_answer_is_the_class_of_the_least_expected_cost(serve: Any, with_costs: Any, tmp_path: Path) -> None:
    with serve(with_costs, tmp_path) as (address, app):
        access = app.state.access
        token = access.tokens.issue("anna", ["predict"], access.watch.known.revision + 1)[0]
        example = dict(app.state.serving.current.example)
        body = {"instances": [example | {"size": size / 10} for size in range(-5, 15)]}
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://{address}", headers=headers) as client:
            answer = client.post("/predict", json=body).json()
            why = client.post("/predict?explain=true", json=body).json()
    probabilities = [list(row.values()) for row in answer["probabilities"]]
    expected = [min(range(3), key=lambda k: sum(p * COSTS[i][k] for i, p in enumerate(row))) for row in probabilities]
    assert answer["predictions"] == [place + 1 for place in expected]
    assert expected != [row.index(max(row)) for row in probabilities]
    sums = [sum(explanation.values()) for explanation in why["explanations"]]
    assert sums == pytest.approx([row[place] for row, place in zip(probabilities, expected, strict=True)], abs=1e-6)
