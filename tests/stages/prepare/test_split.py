"""Which rows train and which test."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import row_hash
from stages.errors import UserError
from stages.params.sections import SplitParams
from stages.prepare.split import Mask, split_rows

ROWS = 2_000


def split(column: Any, method: str, test_size: float = 0.3, key: str | None = None) -> Mask:
    params = SplitParams.model_validate(
        {"method": method, "test_size": test_size, "time_column": "x", "group_column": "x", "key": key}
    )
    table = pd.DataFrame({"x": column})
    return split_rows(table, row_hash.rows(table), params)


@pytest.mark.parametrize(("method", "key"), [("random", None), ("random", "x"), ("group", None)])
def test_a_row_never_changes_sides_as_the_table_grows(method: str, key: str | None) -> None:
    values = np.random.default_rng(0).integers(0, 900, ROWS)

    sides = [split(values[:rows], method, key=key) for rows in (500, 1_000, ROWS)]

    np.testing.assert_array_equal(sides[0], sides[2][:500])
    np.testing.assert_array_equal(sides[1], sides[2][:1_000])


@pytest.mark.parametrize(("method", "key"), [("random", None), ("random", "x"), ("group", None)])
def test_equal_rows_keys_and_groups_stay_together(method: str, key: str | None) -> None:
    values = np.random.default_rng(1).integers(0, 900, ROWS)

    test = split(values, method, key=key)

    assert not set(values[test]) & set(values[~test])


@pytest.mark.parametrize("test_size", [0.05, 0.33, 0.5])
def test_a_split_by_hash_comes_near_its_share_and_grows_with_it(test_size: float) -> None:
    test = split(range(ROWS), "random", test_size)

    assert abs(test.mean() - test_size) < 4 * np.sqrt(test_size / ROWS)
    assert not (test & ~split(range(ROWS), "random", 0.5)).any()


def test_groups_that_all_train_are_refused_with_a_share_that_helps() -> None:
    groups = [*"abcdefgh"] * 9

    with pytest.raises(UserError, match=r"split.test_size: got 0.05, which puts 0% .* side\); set it to") as refused:
        split(groups, "group", 0.05)

    helpful = float(str(refused.value).split("set it to ")[1].split(",")[0])
    assert 0.05 <= split(groups, "group", helpful).mean() <= 0.6


def test_rows_that_are_all_equal_cannot_be_split() -> None:
    with pytest.raises(UserError, match=r"1 different rows, .* name a column with more"):
        split([7] * ROWS, "random")


@pytest.mark.parametrize(
    "column",
    [
        pd.date_range("2020-01-01", periods=ROWS),
        np.arange(ROWS) / 7,
    ],
    ids=["dates", "numbers"],
)
def test_a_split_by_time_tests_on_the_latest_rows(column: Any) -> None:
    shuffled = np.random.default_rng(0).permutation(ROWS)

    test = split(pd.Series(column).iloc[shuffled].to_numpy(), "time", test_size=0.25)

    assert sorted(shuffled[test]) == list(range(1_500, 2_000))


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60), st.sampled_from([0.05, 0.2, 0.33, 0.5]))
def test_a_split_by_time_cuts_at_the_moment_that_comes_nearest(moments: list[int], test_size: float) -> None:
    values = np.asarray(moments)
    reachable = [share for share in ((values > cut).mean() for cut in set(moments)) if 0.05 <= round(share, 12) <= 0.6]

    if not reachable:
        with pytest.raises(UserError, match=r"split.time_column: 'x' .* split.method to random"):
            split(moments, "time", test_size)
        return
    test = split(moments, "time", test_size)

    assert values[~test].max() < values[test].min()
    assert abs(test.mean() - test_size) == pytest.approx(min(abs(share - test_size) for share in reachable))


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([1] * 5 + [2] * 95, "2 different moments, .* 5% to 60% of the rows .the nearest is 95.0%"),
        ([1] * 99 + [2], "the nearest is 1.0%"),
    ],
)
def test_ties_that_leave_no_usable_cut_are_refused(moments: list[int], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        split(moments, "time", 0.33)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["soon"] * ROWS, r"holds 'soon'; expected dates or numbers"),
        ([1.0] * ROWS, r"'x' is 1.0 in every row"),
        ([*range(ROWS - 2), None, None], r"2 rows have no value in 'x'; fill them"),
    ],
)
def test_a_column_that_orders_no_rows_is_refused(column: Any, expected: str) -> None:
    with pytest.raises(UserError, match=f"split.time_column: .*{expected}"):
        split(column, "time")


def test_a_key_without_a_value_is_refused() -> None:
    with pytest.raises(UserError, match=r"split.key: 1 rows have no value in 'x'"):
        split([*range(ROWS - 1), None], "random", key="x")
