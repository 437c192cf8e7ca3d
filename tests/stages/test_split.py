"""Which rows train and which test."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages._errors import UserError
from stages._params import SplitParams
from stages._split import Mask, split_rows

ROWS = 200
TARGET = pd.Series(["a", "a", "a", "b"] * (ROWS // 4))


def split(column: Any, method: str, test_size: float = 0.3, seed: int = 0, target: pd.Series = TARGET) -> Mask:
    params = SplitParams.model_validate(
        {"method": method, "test_size": test_size, "time_column": "x", "group_column": "x"}
    )
    return split_rows(pd.DataFrame({"x": column}), target, params, stratify=target.dtype != float, seed=seed)


def test_a_random_split_keeps_the_share_of_each_class() -> None:
    test = split(range(ROWS), "random", test_size=0.2)

    assert TARGET[test].value_counts().to_dict() == {"a": 30, "b": 10}


def test_a_random_split_depends_on_the_seed_alone() -> None:
    np.testing.assert_array_equal(split(range(ROWS), "random", seed=7), split(range(ROWS), "random", seed=7))
    assert not np.array_equal(split(range(ROWS), "random", seed=7), split(range(ROWS), "random", seed=8))


def test_more_classes_than_rows_to_test_on_are_told() -> None:
    target = pd.Series([f"k{row % 50}" for row in range(ROWS)])

    with pytest.raises(UserError, match=r"split.test_size: got 0.1, which leaves 20 of 200 rows to test; 50 classes"):
        split(range(ROWS), "random", test_size=0.1, target=target)


@pytest.mark.parametrize(
    "column",
    [
        pd.date_range("2020-01-01", periods=ROWS),
        np.arange(ROWS) / 7,
        [f"20{row // 12:02}-{row % 12 + 1:02}-01T00:00:00{'Z' if row % 2 else '+02:00'}" for row in range(ROWS)],
    ],
    ids=["dates", "numbers", "text"],
)
def test_a_split_by_time_tests_on_the_latest_rows(column: Any) -> None:
    shuffled = np.random.default_rng(0).permutation(ROWS)

    test = split(pd.Series(column).iloc[shuffled].to_numpy(), "time", test_size=0.25)

    assert sorted(shuffled[test]) == list(range(150, 200))


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60).filter(lambda moments: len(set(moments)) > 1))
def test_rows_of_one_moment_stay_together_and_both_sides_have_rows(moments: list[int]) -> None:
    test = split(moments, "time", target=pd.Series(np.zeros(len(moments))))
    values = np.asarray(moments)

    assert values[~test].max() < values[test].min()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([*["2020-01-01"] * (ROWS - 1), "soon"], r"holds 'soon'; expected dates in ISO 8601"),
        ([1.0] * ROWS, r"'x' is 1.0 in every row"),
        ([*range(ROWS - 2), None, None], r"2 rows have no value in 'x'; fill them"),
    ],
)
def test_a_column_that_orders_no_rows_is_refused(column: Any, expected: str) -> None:
    with pytest.raises(UserError, match=f"split.time_column: .*{expected}"):
        split(column, "time")


@given(
    st.lists(st.integers(0, 15), min_size=2, max_size=60).filter(lambda groups: len(set(groups)) > 1),
    st.sampled_from([0.05, 0.3, 0.5]),
    st.integers(0, 9),
)
def test_groups_stay_whole_and_both_sides_have_rows(groups: list[int], test_size: float, seed: int) -> None:
    test = split(groups, "group", test_size, seed, target=pd.Series(np.zeros(len(groups))))
    values = np.asarray(groups)

    assert not set(values[test]) & set(values[~test])
    assert 0 < test.sum() < len(groups)


def test_groups_of_many_sizes_come_near_the_share() -> None:
    groups = np.repeat(np.arange(20), np.arange(20) + 1)

    shares = [split(groups, "group", seed=seed, target=pd.Series(np.zeros(210))).mean() for seed in range(20)]

    assert min(shares) > 0.25
    assert max(shares) < 0.35


def test_one_group_alone_is_told() -> None:
    with pytest.raises(UserError, match="has the one group 'a'"):
        split(["a"] * ROWS, "group")


def test_a_column_that_is_not_there_is_told_with_those_that_are() -> None:
    params = SplitParams(method="time", test_size=0.3, time_column="day")

    with pytest.raises(UserError, match=r"split\.time_column: the table has no column 'day'; it has x"):
        split_rows(pd.DataFrame({"x": [1]}), TARGET[:1], params, stratify=False, seed=0)
