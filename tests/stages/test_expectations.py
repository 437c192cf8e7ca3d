"""Great Expectations behind its door: outcomes in order, examples by row, mistakes in one line."""

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.errors import UserError
from stages.validate import expectations
from stages.validate.outcomes import Outcome, as_json
from stages.validate.suite import Expectation

BETWEEN, IN_SET = "expect_column_values_to_be_between", "expect_column_values_to_be_in_set"


@pytest.fixture
def months() -> pd.DataFrame:
    return pd.DataFrame({"month": np.repeat([1, 2], 10), "y": ["late"] * 2 + ["on_time"] * 18})


def one(table: pd.DataFrame, kind: str, **kwargs: Any) -> Outcome:
    return expectations.evaluate(table, [Expectation(kind, kwargs)])[0]


def test_three_unexpected_values_are_shown_with_their_rows_as_a_reader_of_the_file_counts() -> None:
    outcome = one(pd.DataFrame({"a": [1, 9, 1, 9, 9, 9]}), BETWEEN, column="a", min_value=0, max_value=5)
    assert [(example.row, example.value) for example in outcome.examples] == [(3, 9), (5, 9), (6, 9)]
    assert outcome.unexpected_count == 4


def test_an_expectation_can_be_about_the_rows_of_one_month(months: pd.DataFrame) -> None:
    def late_in(month: int) -> bool:
        condition = {"type": "comparison", "column": {"name": "month"}, "operator": "==", "parameter": month}
        kwargs = {"column": "y", "value_set": ["late"], "mostly": 0.2, "row_condition": condition}
        return one(months, IN_SET, **kwargs, condition_parser="pandas").success

    assert [late_in(1), late_in(2)] == [True, False]


def test_outcomes_come_in_the_order_of_the_expectations(months: pd.DataFrame) -> None:
    names = ["y", "month", "y", "month"]
    asked = [Expectation("expect_column_values_to_not_be_null", {"column": name}) for name in names]
    assert [each.expectation.columns for each in expectations.evaluate(months, asked)] == [(n,) for n in names]


@pytest.mark.parametrize("kind", [BETWEEN, "expect_column_values_to_be_in_type_list"])
def test_a_column_that_is_not_there_is_named(months: pd.DataFrame, kind: str) -> None:
    given = {"min_value": 0} if kind == BETWEEN else {"type_list": ["int64"]}
    assert one(months, kind, column="seats", **given).error == "the table has no column seats"


def test_of_a_set_of_columns_only_the_differences_are_told(months: pd.DataFrame) -> None:
    outcome = one(months, "expect_table_columns_to_match_set", column_set=["month", "z"])
    assert outcome.observed == {"missing": ["z"], "unexpected": ["y"]}


def test_an_unknown_type_is_told_with_the_nearest_known(months: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="knows no such type; did you mean expect_column_values_to_be_between"):
        one(months, "expect_column_values_to_be_betwen", column="month")


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [({}, "column"), ({"column": "month", "value_set": [1], "mostly": 3}, "mostly"), ({"column": "y", "n": 1}, "n")],
)
def test_wrong_arguments_are_told_by_name(months: pd.DataFrame, kwargs: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        one(months, IN_SET, **kwargs)


def test_the_same_table_gives_the_same_json(months: pd.DataFrame) -> None:
    asked = [
        Expectation(IN_SET, {"column": "y", "value_set": ["x"]}),
        Expectation(BETWEEN, {"column": "q", "min_value": 0}),
    ]
    first, second = (as_json(expectations.evaluate(months, asked), 20, 2) for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_what_was_hidden_while_great_expectations_was_imported_can_be_imported_after() -> None:
    program = "import stages.validate.expectations, botocore, google.auth"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=False).returncode == 0
