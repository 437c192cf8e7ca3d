"""The suite file: what is a suite is read, anything else is told in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import UserError
from stages.validate import suite as _suite
from stages.validate.suite import Expectation

NOT_NULL = "expect_column_values_to_not_be_null"

BROKEN = {
    "empty": ("", "is not JSON"),
    "text": ("not json", "line 1, column 1: is not JSON"),
    "nested too deeply": ("[" * 100_000, "nested too deeply"),
    "nan": ('{"expectations": [NaN]}', "NaN is no number"),
    "list": ("[]", "is no Great Expectations suite"),
    "nothing_to_hold": ('{"expectations": []}', "holds no expectation"),
    "no_object": ('{"expectations": [1]}', "expectation 1: expected an object with a `type`"),
    "no_type": ('{"expectations": [{"kwargs": {}}]}', "expectation 1: expected an object with a `type`"),
    "loose_argument": ('{"expectations": [{"type": "t", "column": "a"}]}', "unknown key 'column'"),
    "kwargs": ('{"expectations": [{"type": "t", "kwargs": 3}]}', "`kwargs` must be an object"),
    "description": ('{"expectations": [{"type": "t", "description": 3}]}', "`description` must be text"),
    "parameter": ('{"expectations": [{"type": "t", "kwargs": {"a": {"$PARAMETER": "x"}}}]}', "write the value itself"),
    "table": ('{"expectations": [{"type": "t"}], "meta": {"table": 3}}', "meta.table: expected the path of a table"),
}


def read(tmp_path: Path, text: str) -> _suite.Suite:
    (tmp_path / "s.json").write_text(text, encoding="utf-8")
    return _suite.read(tmp_path / "s.json")


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_suite_is_told_in_one_line_that_names_the_file(tmp_path: Path, name: str) -> None:
    text, expected = BROKEN[name]
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert expected in str(caught.value)
    assert "s.json" in str(caught.value)


@pytest.mark.parametrize(("make", "expected"), [(Path.mkdir, "is a folder"), (str, "not found")])
def test_a_path_without_a_file_is_told_with_the_key_to_change(tmp_path: Path, make: Any, expected: str) -> None:
    make(tmp_path / "s.json")
    with pytest.raises(UserError, match=rf"validate\.suite: .*{expected}"):
        _suite.read(tmp_path / "s.json")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        _suite.read(tmp_path / "s.json")


def test_a_column_named_as_the_syntax_for_parameters_is_a_column(tmp_path: Path) -> None:
    suite = read(tmp_path, _suite.write("s", [Expectation(NOT_NULL, {"column": "$PARAMETER"})]))
    assert suite.expectations[0].columns == ("$PARAMETER",)


def test_how_a_run_was_made_is_not_read_from_the_suite(tmp_path: Path) -> None:
    kwargs = {"column": "a", "batch_id": "x", "result_format": "COMPLETE"}
    suite = read(tmp_path, json.dumps({"expectations": [{"type": NOT_NULL, "kwargs": kwargs}]}))
    assert suite.expectations[0].kwargs == {"column": "a"}


def test_the_table_that_a_suite_was_reviewed_for_is_read_from_its_meta(tmp_path: Path) -> None:
    text = json.dumps({"expectations": [{"type": NOT_NULL, "kwargs": {}}], "meta": {"table": "a.csv"}})
    assert read(tmp_path, text).table == "a.csv"


@given(st.lists(st.tuples(st.text(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, claims: Any) -> None:
    written = [Expectation(NOT_NULL, {"column": name, "mostly": share}) for name, share in claims]
    suite = read(tmp_path_factory.mktemp("suite"), _suite.write("name", written))
    assert [(each.type, each.kwargs) for each in suite.expectations] == [(e.type, e.kwargs) for e in written]


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
    kwargs = {"column": "y", "row_condition": condition, **more}
    return json.dumps({"expectations": [{"type": NOT_NULL, "kwargs": kwargs}]})


@pytest.mark.parametrize("name", CODE)
def test_a_row_condition_that_could_run_code_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"expectation 1 \({NOT_NULL}\): row_condition"):
        read(tmp_path, suite_with(CODE[name], condition_parser="pandas"))


@pytest.mark.parametrize(
    "condition",
    [
        COMPARISON,
        {**COMPARISON, "operator": "IN", "parameter": ["@pd", "b"]},
        {"type": "nullity", "column": {"name": "two words"}, "is_null": False},
        {"type": "and", "conditions": [COMPARISON, {"type": "or", "conditions": [COMPARISON]}]},
        None,
    ],
)
def test_a_row_condition_in_the_object_form_is_kept(tmp_path: Path, condition: Any) -> None:
    (expectation,) = read(tmp_path, suite_with(condition)).expectations
    assert expectation.kwargs["row_condition"] == condition
