"""The threshold comes from out-of-fold predictions of training rows, and from nothing else."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import balanced_accuracy_score

from stages.errors import UserError
from stages.evaluate import __main__ as evaluate
from stages.evaluate.threshold import DEFAULT, best, cheapest, choose
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.schema import Schema
from stages.train import __main__ as train

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
GRID = arrays.arrays(np.float64, 20, elements=st.integers(0, 10).map(lambda tenths: tenths / 10))
FLAGS = arrays.arrays(np.bool_, 20)


@settings(max_examples=40)
@given(scores=GRID, positive=FLAGS)
def test_no_other_threshold_has_a_better_balanced_accuracy(scores: Floats, positive: Flags) -> None:
    found = best(scores, positive)
    if positive.all() or not positive.any():
        assert found == DEFAULT
        return
    ours = balanced_accuracy_score(positive, scores > found)
    others = [balanced_accuracy_score(positive, scores > other) for other in np.linspace(-0.05, 1.05, 12)]
    nothing_helps = max(others) <= 0.5 and found == DEFAULT
    assert nothing_helps or ours >= max(others) - 1e-12


@settings(max_examples=40)
@given(scores=GRID, positive=FLAGS, missed=st.sampled_from([0.1, 1.0, 3.0, 50.0]))
def test_no_other_threshold_costs_less(scores: Floats, positive: Flags, missed: float) -> None:
    costs = (1.0, missed)

    def cost(threshold: float) -> float:
        predicted = scores > threshold
        return float((predicted & ~positive).sum() + missed * (~predicted & positive).sum())

    found = cheapest(scores, positive, costs)
    # A score of 0 is never above a threshold, which is 0 at the least.
    assert cost(found) <= min(cost(other) for other in np.linspace(0, 1, 21)) + 1e-9


def test_it_lies_half_way_between_the_scores_that_it_parts() -> None:
    assert best(np.array([0.1, 0.2, 0.6, 0.8]), np.array([False, False, True, True])) == 0.4


def test_of_equally_good_ones_the_nearest_to_a_half_is_taken() -> None:
    found = best(np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, True, False, True]))
    assert found == 0.75


@pytest.mark.parametrize("scores", [np.full(4, 0.3), np.array([0.9, 0.8, 0.2, 0.1])])
def test_useless_scores_leave_the_threshold_at_a_half(scores: Floats) -> None:
    assert best(scores, np.array([False, False, True, True])) == DEFAULT


@pytest.mark.parametrize(("missed", "expected"), [(1e-6, 1.0), (1e6, 0.0)])
def test_a_class_that_never_or_always_pays_is_never_or_always_predicted(missed: float, expected: float) -> None:
    costs = (1.0, missed)
    scores, positive = np.array([0.1, 0.4, 0.6, 0.8]), np.array([True, False, True, False])
    assert cheapest(scores, positive, costs) == expected


def test_without_folds_it_stays_at_a_half() -> None:
    assert choose([], None) == DEFAULT
    assert choose([], (1.0, 4.0)) == 0.2


def table(seed: int) -> pd.DataFrame:
    """Return rows whose positive class is rare; the last 60 depend on the seed."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    rows = pd.DataFrame({"a": a, "b": rng.normal(size=200), "t": pd.date_range("2020-01-01", periods=200, freq="h")})
    rows["y"] = np.where(a + rng.normal(size=200) > 1.8, "yes", "no")
    later = np.random.default_rng(seed)
    rows.loc[140:, "a"] = later.normal(size=60)
    rows.loc[140:, "y"] = later.choice(["yes", "no"], 60)
    return rows


def decide(rows: pd.DataFrame, schema: Schema, wanted: Params) -> tuple[dict[str, float], Params]:
    return evaluate.cross_validate(rows, schema, wanted, train.predict_out_of_fold(rows, schema, wanted))


def test_the_test_rows_have_no_say(params: Callable[..., Params]) -> None:
    chosen = []
    split = {"method": "time", "test_size": 0.3, "time_column": "t"}
    wanted = params(split=split, model="logistic_regression", evaluate={"threshold": "auto"})
    for seed in (0, 1):
        rows, _, schema = prepare.prepare(table(seed), wanted)
        scores, decided = decide(rows, schema, wanted)
        chosen.append((scores, decided.evaluate.threshold))
    assert chosen[0] == chosen[1]
    threshold = chosen[0][1]
    assert threshold != "auto"
    assert 0 < threshold < 0.4


def test_costs_of_a_regression_are_refused(params: Callable[..., Params]) -> None:
    wanted = params(evaluate={"threshold": "auto", "costs": {"false_positive": 1.0, "false_negative": 2.0}})
    with pytest.raises(
        UserError, match=r"evaluate.costs: is for a target of classes, this one is a regression; use null"
    ):
        prepare.prepare(table(0).assign(y=lambda frame: frame["a"]), wanted)
