"""What decisions cost: by pairs or by a matrix, beside deciding nothing, with an interval that holds the truth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import service.model
from service.contract import Contract, NumberFeature
from stages.errors import UserError
from stages.evaluate import __main__ as evaluate
from stages.export import __main__ as export
from stages.params.costs import cost_matrix
from stages.params.params import Params
from stages.params.sections import Costs
from stages.prepare import __main__ as prepare
from stages.scores.costs import cost_metrics
from stages.scores.metrics import Classified
from stages.scores.units import Units
from stages.train import __main__ as train

X = NumberFeature(name="x", nullable=False, minimum=0, maximum=1, bin_edges=(), bin_shares=(1.0, 0.0))


def contract(*classes: bool | int | str) -> Contract:
    task, positive = ("binary", classes[0]) if len(classes) == 2 else ("multiclass", None)
    return Contract(task=task, target="y", classes=classes, positive=positive, features=(X,))


@pytest.mark.parametrize(
    ("costs", "classes", "expected"),
    [
        ({"false_positive": 1.0, "false_negative": 5.0}, ("bad", "good"), [[0, 5], [1, 0]]),
        ({"matrix": {"bad": {"good": 5.0}, "good": {"good": -0.0, "bad": 1.0}}}, ("bad", "good"), [[0, 5], [1, 0]]),
        (
            {"matrix": {"*": {"*": 2.0}, "b": {"b": 0.5, "a": 9.0, "*": 1.0}}},
            ("a", "b", "c"),
            [[0, 2, 2], [9, 0.5, 1], [2, 2, 0]],
        ),
        ({"matrix": {0: {1: 3.0, 2: 4.0}, "*": {"*": 1.0}}}, (0, 1, 2), [[0, 3, 4], [1, 0, 1], [1, 1, 0]]),
        ({"matrix": {True: {False: 3.0}, False: {True: 1.0}}}, (False, True), [[0, 1], [3, 0]]),
    ],
)
def test_costs_are_by_true_and_predicted_class(costs: dict[str, Any], classes: tuple[Any, ...], expected: Any) -> None:
    assert cost_matrix(Costs(**costs), contract(*classes)).tolist() == expected


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (
            {"false_positive": 1.0, "false_negative": 5.0},
            "evaluate.costs: false_positive and false_negative are for two",
        ),
        ({"matrix": {"d": {"*": 1.0}}}, "evaluate.costs.matrix: 'd' is no class of 'y'; its classes are a, b, c"),
        (
            {"matrix": {"a": {"b": 1.0}, "*": {"*": 1.0}}},
            "matrix: doesn't say what it costs to predict 'c' for 'a'; add it",
        ),
        ({"matrix": {"*": {"*": 0.0}}}, "matrix: all predictions cost the same; a wrong one must cost more"),
    ],
)
def test_costs_that_do_not_fit_the_classes_are_refused(costs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        cost_matrix(Costs(**costs), contract("a", "b", "c"))


def test_the_figures_are_sums_over_the_rows() -> None:
    y_true, y_pred = np.array([0, 0, 1, 1, 1] * 40), np.array([0, 1, 1, 1, 0] * 40)
    outcome = Classified(("bad", "good"), 0, y_true, np.full((200, 2), 0.5), y_pred)
    target = pd.Series(["bad", "good", "good"])
    found = cost_metrics(outcome, np.array([[0.0, 5.0], [1.0, 0.0]]), target, Units("row", np.arange(200)), 0)
    assert found["cost_per_1000"] == pytest.approx(1000 * (5 + 1) / 5)
    assert found["cost_per_1000_never"] == pytest.approx(1000 * 10 / 5)
    assert found["cost_per_1000_always"] == pytest.approx(1000 * 3 / 5)
    # On the training rows, always predicting bad is cheaper: 2/3 instead of 5/3.
    assert found["saving_per_1000"] == pytest.approx(1000 * (3 - 6) / 5)


@pytest.mark.parametrize("size", [1, 25])
def test_in_simulated_tables_95_of_100_intervals_hold_the_true_cost(size: int) -> None:
    """Rows of one group are right or wrong together, so their number isn't that of independent observations."""
    rng = np.random.default_rng(0)
    matrix, target = np.array([[0.0, 4.0], [1.0, 0.0]]), pd.Series(["bad", "good"])
    held = []
    for _ in range(300):
        y_true = np.repeat((rng.random(60) < 0.7).astype(int), size)
        y_pred = np.repeat((rng.random(60) < 0.5).astype(int), size)
        outcome = Classified(("bad", "good"), 0, y_true, np.full((60 * size, 2), 0.5), y_pred)
        found = cost_metrics(outcome, matrix, target, Units("group", np.arange(60 * size) // size), 0)
        held.append(found["cost_per_1000_low"] <= 1000 * (0.3 * 0.5 * 4 + 0.7 * 0.5) <= found["cost_per_1000_high"])
    assert 0.92 <= np.mean(held) <= 0.98


def three(rows: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a = rng.normal(size=rows)
    return pd.DataFrame(
        {"a": a, "y": pd.cut(a + rng.normal(size=rows), [-9, -0.7, 0.7, 9], labels=[*"xyz"]).astype(str)}
    )


MATRIX = {"x": {"y": 1.0, "z": 2.0}, "y": {"x": 1.0, "z": 1.0}, "z": {"*": 30.0}}


def test_the_file_answers_with_the_label_of_the_least_expected_cost(params: Callable[..., Params]) -> None:
    wanted = params(
        model="logistic_regression", evaluate={"threshold": "auto", "costs": {"matrix": MATRIX}, "folds": 0}
    )
    rows, test, schema = prepare.prepare(three(), wanted)
    about = export.decision_costs(wanted.evaluate.costs, schema.contract)
    pipeline = train.train(rows, schema.contract, wanted)
    plain, served = (
        service.model.from_bytes(export.export(pipeline, schema.contract, **more), "m") for more in ({}, about)
    )
    scores = served.scores(schema.contract.encode(test))
    costs = np.array([[0, 1, 2], [1, 0, 1], [30, 30, 0]])
    assert served.labels(scores, 0.5) == [[*"xyz"][place] for place in (scores @ costs).argmin(axis=1)]
    assert served.labels(scores, 0.5) != plain.labels(scores, 0.5)
    found, ours = (evaluate.evaluate(each, rows["y"], test, wanted)[0] for each in (plain, served))
    assert ours["cost_per_1000"] < found["cost_per_1000"]
    assert ours["saving_per_1000_low"] > 0
    assert ours["cost_per_1000_constant"] == pytest.approx(ours["cost_per_1000"] + ours["saving_per_1000"])


def test_costs_of_another_shape_than_the_classes_are_refused(params: Callable[..., Params]) -> None:
    rows, _, schema = prepare.prepare(three(), params())
    content = export.export(train.train(rows, schema.contract, params()), schema.contract, costs="[[0, 1], [1, 0]]")
    with pytest.raises(
        service.model.ArtifactError, match=r"its costs have the shape \(2, 2\), expected a row and a column"
    ):
        service.model.from_bytes(content, "m")
