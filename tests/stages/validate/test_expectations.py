"""Great Expectations behind its adapter: the gallery's expectations, examples by row, mistakes in one line."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import UserError
from stages.validate.expectations import evaluate
from stages.validate.report import describe, html
from stages.validate.suite import Result

BETWEEN, IN_SET = "expect_column_values_to_be_between", "expect_column_values_to_be_in_set"
TAXIS = pd.DataFrame(
    {
        "passenger_count": np.tile([1, 2, 3, 4], 10),
        "fare": np.linspace(2.5, 60, 40),
        "total": np.linspace(2.5, 60, 40) + 1,
        "vendor": ["v1", "v2"] * 20,
        "pickup": pd.date_range("2024-01-01", periods=40, freq="h"),
        "text_date": [f"2024-01-{day:02}" for day in range(1, 21)] * 2,
    }
)
# As the gallery and a saved suite write them; all hold for TAXIS.
GALLERY: list[dict[str, Any]] = [
    {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 40}},
    {"type": "expect_table_columns_to_match_ordered_list", "kwargs": {"column_list": list(TAXIS.columns)}},
    {"type": BETWEEN, "kwargs": {"column": "pickup", "min_value": "2024-01-01", "max_value": "2024-01-31"}},
    {"type": BETWEEN, "kwargs": {"column": "passenger_count", "min_value": 1, "max_value": 6, "strict_max": True}},
    {"type": IN_SET, "kwargs": {"column": "vendor", "value_set": ["v1", "v2"]}, "severity": "warning", "notes": "n"},
    {"type": "expect_column_distinct_values_to_equal_set", "kwargs": {"column": "vendor", "value_set": ["v1", "v2"]}},
    {"type": "expect_column_value_lengths_to_equal", "kwargs": {"column": "vendor", "value": 2}, "id": "0-1"},
    {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "vendor", "regex": r"^v\d$"}},
    {
        "type": "expect_column_values_to_match_strftime_format",
        "kwargs": {"column": "text_date", "strftime_format": "%Y-%m-%d"},
    },
    {
        "type": "expect_column_pair_values_a_to_be_greater_than_b",
        "kwargs": {"column_A": "total", "column_B": "fare", "or_equal": True},
    },
    {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["vendor", "fare"]}},
    {"type": "expect_column_median_to_be_between", "kwargs": {"column": "fare", "min_value": 20, "max_value": 40}},
    {
        "type": "expect_column_quantile_values_to_be_between",
        "kwargs": {
            "column": "fare",
            "quantile_ranges": {"quantiles": [0.1, 0.9], "value_ranges": [[0, 20], [40, None]]},
        },
    },
    {
        "type": "expect_column_values_to_not_be_outliers",
        "kwargs": {"column": "fare", "method": "iqr", "multiplier": 1.5},
    },
    {
        "type": "expect_column_values_to_be_in_type_list",
        "kwargs": {"column": "fare", "type_list": ["float64", "int64"], "batch_id": "x", "result_format": "COMPLETE"},
    },
    {
        "type": IN_SET,
        "kwargs": {
            "column": "vendor",
            "value_set": ["v2"],
            "condition_parser": "great_expectations",
            "row_condition": {
                "type": "comparison",
                "column": {"name": "passenger_count"},
                "operator": "==",
                "parameter": 2,
            },
        },
    },
]


def one(table: pd.DataFrame, kind: str, **kwargs: Any) -> Result:
    return evaluate(table, [{"type": kind, "kwargs": kwargs}])[0]


def test_expectations_of_the_gallery_work_as_they_are_written_there() -> None:
    results = evaluate(TAXIS, GALLERY)

    assert [describe(each) for each in results if not each["success"]] == []
    assert [each["expectation_config"]["type"] for each in results] == [each["type"] for each in GALLERY]


def test_three_unexpected_values_are_shown_with_their_rows_as_a_reader_of_the_file_counts() -> None:
    result = one(pd.DataFrame({"a": [1, 9, 1, 9, 9, 9]}), BETWEEN, column="a", min_value=0, max_value=5)

    assert describe(result).endswith("| 4 unexpected rows (66.7 %) | row 3: 9; row 5: 9; row 6: 9")


@pytest.mark.parametrize("kind", [BETWEEN, "expect_column_values_to_be_in_type_list"])
def test_a_column_that_is_not_there_is_named(kind: str) -> None:
    given = {"min_value": 0} if kind == BETWEEN else {"type_list": ["int64"]}

    assert "could not be evaluated: the table has no column seats" in describe(
        one(TAXIS, kind, column="seats", **given)
    )


def test_of_a_set_of_columns_only_the_differences_are_shown() -> None:
    result = one(TAXIS[["fare", "total"]], "expect_table_columns_to_match_set", column_set=["fare", "z"])

    assert '"missing": ["z"]' in describe(result)
    assert '"unexpected": ["total"]' in describe(result)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"type": "expect_column_values_to_be_betwen", "kwargs": {}}, f"has no such type; did you mean {BETWEEN}"),
        ({"type": IN_SET, "kwargs": {}}, "column: field required"),
        ({"type": IN_SET, "kwargs": {"column": "vendor", "value_set": [1], "mostly": 3}}, "mostly: "),
        ({"type": IN_SET, "kwargs": {"column": "vendor", "value_set": [1], "n": 1}}, "n: extra"),
        ({"type": IN_SET, "kwargs": {"value_set": [1]}, "column": "vendor"}, "unexpected keyword argument 'column'"),
    ],
)
def test_a_mistake_is_one_line_with_file_place_and_argument(entry: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        evaluate(TAXIS, [GALLERY[0], entry], "s.json")

    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"s.json, expectation 2 ({entry['type']}): ")


@given(st.text(alphabet="<>&\"'/script{}$%\x1b\u202e\n", min_size=1))
def test_text_of_the_table_is_neither_markup_nor_a_command_to_the_terminal(text: str) -> None:
    def result(name: str) -> Result:
        config = {"type": IN_SET, "kwargs": {"column": name}, "description": name}
        found = {"partial_unexpected_list": [name], "observed_value": {name: [name]}}
        return {
            "success": False,
            "expectation_config": config,
            "result": found,
            "exception_info": {"exception_message": None},
        }

    assert html([result(text)], [text]).count("<") == html([result("a")], ["a"]).count("<")
    assert describe(result(text)).isprintable()


def test_a_result_is_json_that_two_runs_write_alike() -> None:
    entries = [{"type": IN_SET, "kwargs": {"column": name, "value_set": ["x"]}} for name in ("vendor", "q")]

    first, second = (json.dumps(evaluate(TAXIS, entries), allow_nan=False) for _ in range(2))

    assert first == second


@pytest.mark.slow
def test_what_was_hidden_while_great_expectations_was_imported_can_be_imported_after() -> None:
    program = "import stages.validate.expectations, botocore, google.auth, sqlalchemy"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=False).returncode == 0
