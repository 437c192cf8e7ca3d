"""Contributions against Shapley values by their definition, and sampled ones within their stated error."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.contract import BooleanFeature, DateFeature, NumberFeature
from service.encoding import Matrix
from service.model import Model, from_bytes
from service.shapley import Explainer, NoBackgroundError, to_text
from tests.service.artifacts import contract

Floats = npt.NDArray[np.float64]


def number(name: str) -> NumberFeature:
    return NumberFeature(name=name, nullable=True, minimum=0, maximum=1, bin_edges=(0.5,), bin_shares=(0.5, 0.5, 0))


def make_model(features: Sequence[Any], background: Matrix | None, seed: int = 0) -> Model:
    """Return a regression with many interactions: a sum of sines and of products of all columns."""
    columns = sum(len(each.columns) for each in features)
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("IsNaN", ["X"], ["gap"]),
        helper.make_node("Where", ["gap", "filler", "X"], ["filled"]),
        helper.make_node("MatMul", ["filled", "first"], ["mixed"]),
        helper.make_node("Sin", ["mixed"], ["waves"]),
        helper.make_node("MatMul", ["waves", "second"], ["scores"]),
    ]
    arrays = {
        "filler": np.float32(0.3),
        "first": rng.normal(size=(columns, 8)).astype(np.float32),
        "second": rng.normal(size=(8, 1)).astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    about = contract(task="regression", classes=(), positive=None, features=tuple(features)).model_dump_json()
    metadata = {"contract": about} | ({} if background is None else {"background": to_text(background)})
    onnx.helper.set_model_props(made, metadata)
    return from_bytes(made.SerializeToString(), "model.onnx")


def by_definition(model: Model, background: Matrix, row: Matrix) -> Floats:
    """Return Shapley values of the features by the sum over all coalitions (Shapley 1953)."""
    sizes = [len(each.columns) for each in model.contract.features]
    owners = np.repeat(np.arange(len(sizes)), sizes)

    def value(coalition: tuple[int, ...]) -> float:
        mixed = np.where(np.isin(owners, coalition), row, background)
        return float(model.scores(mixed).astype(np.float64).mean())

    players = range(len(sizes))
    found = np.zeros(len(sizes))
    for player in players:
        others = [each for each in players if each != player]
        for size in range(len(sizes)):
            weight = factorial(size) * factorial(len(sizes) - size - 1) / factorial(len(sizes))
            for coalition in combinations(others, size):
                found[player] += weight * (value((*coalition, player)) - value(coalition))
    return found


def rows_of(columns: int, count: int, seed: int) -> Matrix:
    return np.random.default_rng(seed).normal(size=(count, columns)).astype(np.float32)


def explain(model: Model, row: Matrix) -> Any:
    return Explainer(model).explain(row, model.scores(row[None]), None)


@pytest.mark.parametrize("features", [1, 2, 5, 8])
def test_a_model_with_few_features_is_explained_exactly(features: int) -> None:
    background, row = rows_of(features, 16, 1), rows_of(features, 1, 2)[0]
    model = make_model([number(f"x{each}") for each in range(features)], background)

    found = explain(model, row)

    assert found.contributions == pytest.approx(by_definition(model, background, row), abs=1e-6)
    assert found.error == 0


def test_a_feature_of_several_columns_contributes_as_one() -> None:
    when = DateFeature(
        name="when", nullable=True, minimum="2020-01-01", maximum="2021-01-01", parts=("days", "month", "hour"),
        bin_edges=(), bin_shares=(),
    )  # fmt: skip
    flag = BooleanFeature(name="flag", nullable=False, bin_shares=(0.5, 0.5, 0))
    background, row = rows_of(5, 9, 3), rows_of(5, 1, 4)[0]
    model = make_model([number("x"), when, flag], background)

    assert explain(model, row).contributions == pytest.approx(by_definition(model, background, row), abs=1e-6)


def test_missing_numbers_are_values_too() -> None:
    background, row = rows_of(4, 9, 3), rows_of(4, 1, 4)[0]
    background[::2, 1] = background[3, :] = row[[0, 1]] = np.nan
    model = make_model([number(f"x{each}") for each in range(4)], background)

    assert explain(model, row).contributions == pytest.approx(by_definition(model, background, row), abs=1e-6)


def test_a_feature_equal_to_the_whole_background_contributes_nothing() -> None:
    background = rows_of(14, 9, 3)
    background[:, 4] = 0.25
    row = rows_of(14, 1, 4)[0]
    row[4] = 0.25

    assert explain(make_model([number(f"x{each}") for each in range(14)], background), row).contributions[4] == 0


@pytest.fixture(scope="module")
def sampled() -> tuple[Model, Matrix]:
    """Return a model with too many features for exact values, and its background."""
    background = rows_of(11, 4, 5)
    return make_model([number(f"x{each}") for each in range(11)], background), background


def exact(model: Model, background: Matrix) -> Callable[[Matrix], Floats]:
    """Return the function that explains exactly, by a solver that the first tests compare with the definition."""
    explainer = Explainer(model)
    explainer._exact = len(model.contract.features)
    return lambda row: explainer.explain(row, model.scores(row[None]), None).contributions


def test_base_value_and_contributions_add_up_to_the_score(sampled: tuple[Model, Matrix]) -> None:
    model, background = sampled
    for row in rows_of(11, 20, 6):
        found = explain(model, row)
        assert found.base_value + found.contributions.sum() == pytest.approx(model.scores(row[None])[0], abs=1e-6)
        assert found.base_value == pytest.approx(model.scores(background).mean())


def test_the_stated_error_covers_the_real_one(sampled: tuple[Model, Matrix]) -> None:
    model, background = sampled
    solve = exact(model, background)
    differences, errors = [], []
    for row in rows_of(11, 200, 7):
        found = explain(model, row)
        differences.append(np.abs(found.contributions - solve(row)).max())
        errors.append(found.error)

    assert np.mean(np.array(differences) > np.array(errors)) <= 0.005
    assert np.mean(np.array(differences) > np.array(errors) / 4) > 0.1  # and isn't far too large


def test_the_same_row_always_has_the_same_explanation(sampled: tuple[Model, Matrix]) -> None:
    row, other = rows_of(11, 2, 8)
    first, again, different = (explain(sampled[0], each) for each in (row, row.copy(), other))
    assert first.contributions.tolist() == again.contributions.tolist() != different.contributions.tolist()


def test_a_wide_model_is_scored_in_parts() -> None:
    background, row = rows_of(300, 2, 9), rows_of(300, 1, 10)[0]
    model = make_model([number(f"x{each}") for each in range(300)], background)

    found = explain(model, row)

    assert found.base_value + found.contributions.sum() == pytest.approx(model.scores(row[None])[0], abs=1e-6)


def test_a_file_without_background_cannot_be_explained() -> None:
    with pytest.raises(NoBackgroundError):
        Explainer(make_model([number("x")], None))
