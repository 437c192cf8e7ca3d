"""Background rows are like the training rows, but reveal none of them."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from service.contract import CategoryFeature, Contract, NumberFeature
from service.encoding import UNSEEN, Matrix
from stages.export.background import FEWEST, ROWS, coarsen, draw_background
from stages.params.params import Params
from stages.prepare import __main__ as prepare

SIZE = 2_000
FEATURE = NumberFeature(name="x", nullable=True, minimum=0, maximum=1, bin_edges=(), bin_shares=(1.0, 0.0))
CATEGORY = CategoryFeature(name="c", nullable=True, categories=("a", "b"), bin_shares=(0.5, 0.5, 0.0))


def first_column(matrix: Matrix) -> Matrix:
    return matrix[:, 0]


@pytest.fixture
def people(params: Callable[..., Params]) -> tuple[pd.DataFrame, Contract]:
    """Return rows of people in two towns: incomes with unusual ones, dates of birth, a rare job, gaps."""
    rng = np.random.default_rng(0)
    town = rng.choice(["north", "south"], SIZE)
    table = pd.DataFrame(
        {
            "town": town,
            "income": np.where(town == "north", 1000, 3000) + rng.normal(size=SIZE) * 100,
            "tax": 0.0,
            "job": rng.choice(["clerk", "farmer", "baker"], SIZE),
            "born": pd.Timestamp("1950-01-01") + pd.to_timedelta(rng.integers(0, 20_000, SIZE), unit="D"),
            "children": rng.integers(0, 4, SIZE),
        }
    )
    table["tax"] = table["income"] * 0.3 + rng.normal(size=SIZE)
    table.loc[:4, "job"] = "astronaut"
    table.loc[:4, "income"] = 1e6
    table.loc[::8, "tax"] = np.nan
    table["y"] = np.where(table["income"] > 2000, "high", "low")
    rows, _, schema = prepare.prepare(table, params())
    return rows, schema.contract


def column_of(contract: Contract, name: str) -> int:
    return contract.columns.index(name)


def test_no_value_is_that_of_fewer_than_ten_rows(people: tuple[pd.DataFrame, Contract]) -> None:
    rows, contract = people
    found = draw_background(rows, contract, first_column)
    real = contract.encode(rows)
    assert found.shape == (ROWS, len(contract.columns))
    for drawn, column in zip(found.T, real.T, strict=True):
        times = [np.count_nonzero(column == value) for value in drawn[~np.isnan(drawn)]]
        assert not [count for count in times if 0 < count < FEWEST]


def test_no_row_is_a_training_row(people: tuple[pd.DataFrame, Contract]) -> None:
    rows, contract = people
    real = {row.tobytes() for row in contract.encode(rows)}
    assert not [row for row in draw_background(rows, contract, first_column) if row.tobytes() in real]


def test_values_of_a_row_belong_together(people: tuple[pd.DataFrame, Contract]) -> None:
    rows, contract = people
    found = pd.DataFrame(draw_background(rows, contract, first_column), columns=contract.columns)
    real = pd.DataFrame(contract.encode(rows), columns=contract.columns)
    for one, other in (("town", "income"), ("income", "tax")):
        expected = real[one].corr(real[other], method="spearman")
        assert found[one].corr(found[other], method="spearman") > 0.6 * expected  # independent draws have about 0
    assert found["tax"].isna().mean() == pytest.approx(1 / 8, abs=0.1)


def test_rows_are_spread_over_the_scores(people: tuple[pd.DataFrame, Contract]) -> None:
    rows, contract = people
    income = column_of(contract, "income")
    found = draw_background(rows, contract, lambda matrix: matrix[:, income])[:, income]
    real = contract.encode(rows)[:, income]
    assert (np.diff(found) >= 0).all()
    assert np.quantile(found, [0.25, 0.75]) == pytest.approx(np.quantile(real, [0.25, 0.75]), rel=0.1)


def test_the_same_table_gives_the_same_rows(people: tuple[pd.DataFrame, Contract]) -> None:
    first, second = (draw_background(*people, first_column) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_a_table_in_which_every_combination_is_rare_has_a_background_too(people: tuple[pd.DataFrame, Contract]) -> None:
    rows, contract = people
    assert draw_background(rows[:30], contract, first_column).shape == (ROWS, len(contract.columns))


@pytest.mark.parametrize(
    ("column", "feature", "expected"),
    [
        ([7.0] * 10 + [8.0] * 10, FEATURE, [7.0] * 10 + [8.0] * 10),
        ([1.0] * 10 + list(range(10, 20)), FEATURE, [1.0] * 10 + [14.5] * 10),
        ([0.0] * 30 + [1e6], FEATURE, [0.0] * 31),
        ([1.0] * 12 + [np.nan] * 9, FEATURE, [1.0] * 21),
        ([1.0] * 12 + [np.nan] * 10, FEATURE, [1.0] * 12 + [np.nan] * 10),
        ([5.0] * 9 + [np.nan] * 20, FEATURE, [np.nan] * 29),
        ([0.0] * 12 + [1.0] * 9, CATEGORY, [0.0] * 12 + [UNSEEN] * 9),
    ],
)
def test_rare_values_are_replaced(column: list[float], feature: NumberFeature, expected: list[float]) -> None:
    np.testing.assert_array_equal(coarsen(np.array(column), feature), expected)
