"""Great Expectations behind its adapter: the gallery's expectations, examples by row, mistakes in one line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import UserError
from stages.stored import StoredTable
from stages.validate import expectations
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

LATE = {"type": "comparison", "column": {"name": "pickup"}, "operator": ">=", "parameter": "2024-01-02"}
FAILING: list[dict[str, Any]] = [
    {"type": f"expect_{kind}", "kwargs": kwargs}
    for kind, kwargs in [
        ("table_row_count_to_equal", {"value": 41}),
        ("table_row_count_to_be_between", {"min_value": 30, "row_condition": LATE}),
        ("table_column_count_to_equal", {"value": 5}),
        ("table_columns_to_match_ordered_list", {"column_list": ["fare", "vendor"]}),
        ("table_columns_to_match_set", {"column_set": ["fare", "seats"]}),
        ("column_to_exist", {"column": "seats"}),
        ("column_values_to_not_be_null", {"column": "seats", "row_condition": LATE}),
        ("column_values_to_not_be_null", {"column": "tip"}),
        ("column_values_to_be_null", {"column": "tip", "mostly": 0.5}),
        ("column_values_to_be_between", {"column": "tip", "min_value": 50, "row_condition": LATE}),
        ("column_values_to_be_between", {"column": "pickup", "max_value": "2024-01-02"}),
        ("column_values_to_be_in_set", {"column": "vendor", "value_set": ["v1"], "row_condition": LATE}),
        ("column_values_to_not_be_in_set", {"column": "passenger_count", "value_set": [4]}),
        ("column_values_to_be_of_type", {"column": "fare", "type_": "str"}),
        ("column_values_to_be_in_type_list", {"column": "vendor", "type_list": ["int64"]}),
        ("column_values_to_be_unique", {"column": "vendor"}),
        ("column_values_to_be_increasing", {"column": "passenger_count"}),
        ("column_values_to_match_regex", {"column": "vendor", "regex": "^w"}),
        ("column_value_lengths_to_be_between", {"column": "vendor", "max_value": 1}),
        ("column_value_z_scores_to_be_less_than", {"column": "fare", "threshold": 1, "double_sided": True}),
        ("column_distinct_values_to_be_in_set", {"column": "vendor", "value_set": ["v1"]}),
        ("column_unique_value_count_to_be_between", {"column": "passenger_count", "max_value": 3}),
        ("column_proportion_of_unique_values_to_be_between", {"column": "vendor", "min_value": 0.5}),
        ("column_proportion_of_non_null_values_to_be_between", {"column": "tip", "min_value": 1}),
        ("column_most_common_value_to_be_in_set", {"column": "passenger_count", "value_set": [7]}),
        ("column_mean_to_be_between", {"column": "fare", "max_value": 3, "row_condition": LATE}),
        ("column_stdev_to_be_between", {"column": "fare", "max_value": 3}),
        ("column_sum_to_be_between", {"column": "fare", "max_value": 3}),
        ("column_min_to_be_between", {"column": "pickup", "min_value": "2024-01-02"}),
        ("column_max_to_be_between", {"column": "fare", "max_value": 3}),
        ("column_pair_values_a_to_be_greater_than_b", {"column_A": "fare", "column_B": "total"}),
        ("column_pair_values_to_be_equal", {"column_A": "fare", "column_B": "tip"}),
        ("compound_columns_to_be_unique", {"column_list": ["vendor", "passenger_count"]}),
        ("multicolumn_sum_to_equal", {"column_list": ["fare", "total"], "sum_total": 3}),
        ("select_column_values_to_be_unique_within_record", {"column_list": ["fare", "tip"]}),
    ]
]


def one(table: pd.DataFrame, kind: str, **kwargs: Any) -> Result:
    return evaluate(table, [{"type": kind, "kwargs": kwargs}])[0]


def test_expectations_of_the_gallery_work_as_they_are_written_there() -> None:
    results = evaluate(TAXIS, GALLERY)

    assert [describe(each) for each in results if not each["success"]] == []
    assert [each["expectation_config"]["type"] for each in results] == [each["type"] for each in GALLERY]


def test_a_table_on_disk_gives_the_verdicts_of_great_expectations_on_the_whole_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tips = TAXIS["fare"].where(TAXIS.index % 3 != 0)
    whole = TAXIS.assign(tip=tips, vendor=TAXIS["vendor"].astype("str"), text_date=TAXIS["text_date"].astype("str"))
    whole.to_parquet(tmp_path / "t.parquet", index=False)
    monkeypatch.setattr(expectations, "BATCH", 7)

    found = evaluate(StoredTable(tmp_path / "t.parquet"), [*GALLERY, *FAILING])

    monkeypatch.setattr(expectations, "_read", lambda table, _: table)
    monkeypatch.setattr(expectations, "_Engine", expectations._Engine.__base__)
    expected = evaluate(whole, [*GALLERY, *FAILING])
    assert found == expected
    assert [each["expectation_config"]["type"] for each in expected[len(GALLERY) :] if each["success"]] == []


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
