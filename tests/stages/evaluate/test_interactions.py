"""Which pairs of features act together."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from service.contract import Contract, NumberFeature
from stages.evaluate.interactions import compute_interactions

Scores = Callable[[Any], Any]


class Formula:
    """A model whose scores are a formula of its three numbers."""

    def __init__(self, scores: Scores) -> None:
        shape: dict[str, Any] = {"nullable": False, "minimum": 0, "maximum": 1, "bin_edges": (), "bin_shares": (1, 0)}
        features = tuple(NumberFeature(name=name, **shape) for name in "abc")
        self.contract = Contract(task="regression", target="y", classes=(), features=features)
        self.scores = scores


def interactions(scores: Scores, rows: int = 400) -> pd.DataFrame:
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(rows, 3)), columns=[*"abc"])
    model: Any = Formula(scores)
    return compute_interactions(model, table, ["a", "b", "c"])


def test_a_sum_of_single_effects_has_none() -> None:
    found = interactions(lambda x: x[:, 0] ** 2 + np.sin(x[:, 1]) - x[:, 2])

    assert found["interaction"].max() < 1e-6
    assert found["share"].max() < 1e-6


def test_a_product_is_found_with_the_strength_that_it_adds() -> None:
    found = interactions(lambda x: 3 * x[:, 0] * x[:, 1] + x[:, 2])

    assert found["pair"].tolist()[0] == "a × b"
    assert found["interaction"].tolist() == pytest.approx([3, 0, 0], abs=0.7)
    assert found["share"][0] > 0.8


@pytest.mark.parametrize("rows", [1, 3])
def test_a_few_rows_are_enough(rows: int) -> None:
    assert np.isfinite(interactions(lambda x: x[:, 0] * x[:, 1], rows)["share"]).all()
