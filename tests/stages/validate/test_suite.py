"""The suite file: what is a suite is read, anything else is refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.errors import UserError
from stages.validate.suite import Suite, columns, read

NOT_NULL = "expect_column_values_to_not_be_null"
NOT_JSON, NO_SUITE, NO_ENTRY = "is not JSON", "is no Great Expectations suite", "expectation 1: got"

BROKEN = {
    "empty": (b"", NOT_JSON),
    "text": (b"not json", "is not JSON: Expecting value: line 1 column 1"),
    "bytes": (b"\xff\xfe\x00", NOT_JSON),
    "nested_too_deeply": (b"[" * 100_000, NOT_JSON),
    "nan": (b'{"expectations": [NaN]}', NOT_JSON),
    "half_a_character": (b'{"expectations": ["\\ud800"]}', NOT_JSON),
    "list": (b"[]", NO_SUITE),
    "empty_suite": (b'{"expectations": []}', NO_SUITE),
    "no_object": (b'{"expectations": [1]}', NO_ENTRY),
    "no_type": (b'{"expectations": [{"kwargs": {}}]}', NO_ENTRY),
    "kwargs": (b'{"expectations": [{"type": "t", "kwargs": 3}]}', NO_ENTRY),
    "parameter": (b'{"expectations": [{"type": "t", "kwargs": {"a": {"$PARAMETER": "x"}}}]}', "write the value itself"),
    "table": (b'{"expectations": [{"type": "t", "kwargs": {}}], "meta": {"table": 3}}', "meta.table: got 3"),
}


def read_text(folder: Path, text: str) -> Suite:
    (folder / "s.json").write_text(text, encoding="utf-8")
    return read(folder / "s.json")


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_suite_is_refused_in_one_line_that_names_the_file(tmp_path: Path, name: str) -> None:
    content, expected = BROKEN[name]
    (tmp_path / "s.json").write_bytes(content)

    with pytest.raises(UserError) as caught:
        read(tmp_path / "s.json")

    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 's.json'}")


@pytest.mark.parametrize("make", [Path.mkdir, str])
def test_a_path_without_a_file_is_refused_with_the_key_to_change(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "s.json")

    with pytest.raises(UserError, match=r"validate\.suite: .* is not a file"):
        read(tmp_path / "s.json")


def test_each_expectation_names_the_columns_that_it_is_about(tmp_path: Path) -> None:
    kinds = {"column": "a", "column_list": ["b", "c"], "column_A": "d", "row_condition": COMPARISON}
    entries = [{"type": NOT_NULL, "kwargs": kinds}, {"type": "expect_table_columns_to_match_set", "kwargs": kinds}]

    suite = read_text(tmp_path, json.dumps({"expectations": entries}))

    assert suite.entries == entries
    assert [columns(each) for each in suite.entries] == [["a", "d", "b", "c"], []]


COMPARISON = {"type": "comparison", "column": {"name": "x"}, "operator": "==", "parameter": 1}
CODE = {
    "text": "x >= 0 * @pd.io.common.os.system('touch ran')",
    "text_for_the_other_parser": 'col("x") > 0',
    "passed_through": {"type": "pass_through", "pass_through_filter": "@pd.io.common.os.system('touch ran')"},
    "without_type": {"pass_through_filter": "x > 0"},
    "column": {**COMPARISON, "column": {"name": "x` + @pd.io.common.os.system('touch ran') + `x"}},
    "nested": {"type": "or", "conditions": [COMPARISON, {"type": "pass_through", "pass_through_filter": "x"}]},
    "nothing_nested": {"type": "and", "conditions": []},
    "parameter": {**COMPARISON, "parameter": [{"a": 1}]},
    "list": [COMPARISON],
    "deep": json.loads('{"type": "and", "conditions": [' * 400 + json.dumps(COMPARISON) + "]}" * 400),
}


def suite_with(condition: Any, **more: str) -> str:
    return json.dumps(
        {"expectations": [{"type": NOT_NULL, "kwargs": {"column": "y", "row_condition": condition, **more}}]}
    )


@pytest.mark.parametrize("name", CODE)
def test_a_row_condition_that_could_run_code_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"expectation 1 \({NOT_NULL}\): row_condition"):
        read_text(tmp_path, suite_with(CODE[name], condition_parser="pandas"))


@pytest.mark.parametrize(
    "condition",
    [
        {**COMPARISON, "operator": "IN", "parameter": ["@pd", "b"]},
        {"type": "nullity", "column": {"name": "two words"}, "is_null": False},
        {"type": "and", "conditions": [COMPARISON, {"type": "or", "conditions": [COMPARISON]}]},
        None,
    ],
)
def test_a_row_condition_in_the_object_form_is_kept(tmp_path: Path, condition: Any) -> None:
    (entry,) = read_text(tmp_path, suite_with(condition)).entries

    assert entry["kwargs"]["row_condition"] == condition
