"""The threshold comes from training rows that the model in question has not seen, and from nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import balanced_accuracy_score

from stages import _threshold, prepare, train
from stages._params import Params
from stages._schema import Split

Flags = npt.NDArray[np.bool_]
RANDOM = Split(method="random", column=None)
GRID = arrays.arrays(np.float64, 20, elements=st.integers(0, 10).map(lambda tenths: tenths / 10))


def rare(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """Give a table whose positive class is rare, in groups and in the order of time."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    table = pd.DataFrame({"a": a, "b": rng.normal(size=rows), "g": rng.integers(0, 12, rows).astype(str)})
    table["t"] = pd.date_range("2020-01-01", periods=rows, freq="h")
    return table.assign(y=np.where(a + rng.normal(size=rows) > 1.8, "yes", "no"))


@given(scores=GRID, positive=arrays.arrays(np.bool_, 20))
def test_no_other_threshold_has_a_better_balanced_accuracy(scores: npt.NDArray[np.float64], positive: Flags) -> None:
    found = _threshold.best(scores, positive)
    if positive.all() or not positive.any():
        assert found == _threshold.DEFAULT
        return
    ours = balanced_accuracy_score(positive, scores > found)
    others = [balanced_accuracy_score(positive, scores > other) for other in np.linspace(-0.05, 1.05, 12)]
    assert ours >= max(others) - 1e-12


@given(scores=GRID, positive=arrays.arrays(np.bool_, 20), seed=st.integers(0, 100))
def test_the_order_of_the_rows_does_not_matter(scores: npt.NDArray[np.float64], positive: Flags, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(20)
    assert _threshold.best(scores, positive) == _threshold.best(scores[order], positive[order])


def test_it_lies_half_way_between_the_scores_that_it_parts() -> None:
    assert _threshold.best(np.array([0.1, 0.2, 0.6, 0.8]), np.array([False, False, True, True])) == 0.4


def test_of_equally_good_ones_the_nearest_to_a_half_is_taken() -> None:
    found = _threshold.best(np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, True, False, True]))
    assert found == 0.75


@pytest.mark.parametrize("scores", [np.full(4, 0.3), np.array([0.9, 0.8, 0.2, 0.1])])
def test_scores_that_tell_nothing_or_the_contrary_leave_it_at_a_half(scores: npt.NDArray[np.float64]) -> None:
    assert _threshold.best(scores, np.array([False, False, True, True])) == _threshold.DEFAULT


def test_the_test_rows_have_no_say(params: Callable[..., Params]) -> None:
    chosen = []
    for seed in (0, 1):
        table = rare()
        wanted = params(split={"method": "time", "test_size": 0.3, "time_column": "t"}, model="logistic_regression")
        late = table.index >= 140
        # Whatever the later rows say: other values, another share of the positive class.
        table.loc[late, "a"] = np.random.default_rng(seed).normal(size=60)
        table.loc[late, "y"] = np.random.default_rng(seed).choice(["yes", "no"], 60)
        rows, _, schema = prepare.prepare(table, wanted)
        pipeline = train.train(rows, schema.contract, wanted)
        chosen.append(_threshold.choose(pipeline, rows, schema.contract, schema.split, 42))
    assert chosen[0] == chosen[1] != _threshold.DEFAULT


@pytest.fixture
def choice(params: Callable[..., Params]) -> Callable[..., float]:
    """Give a function that chooses for a logistic regression, with all rows of a table for its training rows."""

    def choose(table: pd.DataFrame, split: Split = RANDOM, seed: int = 42) -> float:
        wanted = params(model="logistic_regression")
        rows, _, schema = prepare.prepare(table, wanted)
        pipeline = train.train(rows, schema.contract, wanted)
        return _threshold.choose(pipeline, table, schema.contract, split, seed)

    return choose


@pytest.mark.parametrize(
    "split", [RANDOM, Split(method="time", column="t"), Split(method="group", column="g")], ids=lambda each: each.method
)
def test_a_rare_class_gets_a_low_threshold_however_the_rows_are_split(
    choice: Callable[..., float], split: Split
) -> None:
    assert 0 < choice(rare(), split) < 0.4


def test_the_choice_is_the_same_every_time(choice: Callable[..., float]) -> None:
    assert choice(rare()) == choice(rare())


def folds(split: Split, table: pd.DataFrame) -> list[tuple[Any, Any]]:
    rows = _threshold._sample(table, split, 0)
    positive = (rows["y"] == "yes").to_numpy()
    return [
        (rows.iloc[fitted], rows.iloc[held_out]) for fitted, held_out in _threshold._folds(rows, positive, split, 0)
    ]


def test_by_time_every_fold_is_later_than_what_was_fitted() -> None:
    shuffled = rare().sample(frac=1, random_state=0)
    pairs = folds(Split(method="time", column="t"), shuffled)
    assert len(pairs) == _threshold.FOLDS
    assert all(fitted["t"].max() < held_out["t"].min() for fitted, held_out in pairs)


def test_by_group_no_group_is_on_both_sides() -> None:
    pairs = folds(Split(method="group", column="g"), rare())
    assert len(pairs) == _threshold.FOLDS
    assert not any(set(fitted["g"]) & set(held_out["g"]) for fitted, held_out in pairs)


def test_at_random_every_row_is_held_out_once_and_every_fold_has_both_classes() -> None:
    pairs = folds(RANDOM, rare())
    assert sum(len(held_out) for _, held_out in pairs) == 200
    assert all(set(held_out["y"]) == {"yes", "no"} for _, held_out in pairs)


@pytest.mark.parametrize("members", [0, 1])
@pytest.mark.parametrize("split", [RANDOM, Split(method="group", column="g")], ids=lambda each: each.method)
def test_fewer_than_two_members_of_a_class_allow_no_folds(split: Split, members: int) -> None:
    table = rare().assign(y="no")
    table.loc[: members - 1, "y"] = "yes"
    assert folds(split, table) == []


def test_one_group_allows_no_folds() -> None:
    assert folds(Split(method="group", column="g"), rare().assign(g="same")) == []


def test_earliest_rows_of_one_class_are_passed_over(choice: Callable[..., float]) -> None:
    table = rare().assign(t=lambda frame: frame["t"] + pd.to_timedelta((frame["y"] == "yes") * 90, "D"))
    assert choice(table, Split(method="time", column="t")) == _threshold.DEFAULT


def test_no_more_than_the_most_rows_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threshold, "MOST_ROWS", 50)
    drawn = _threshold._sample(rare(), RANDOM, 0)
    assert len(drawn) == 50
    assert drawn.equals(_threshold._sample(rare(), RANDOM, 0))
    assert not drawn.equals(_threshold._sample(rare(), RANDOM, 1))
