"""The draft: it holds for the table it was drafted from, leaves room for the next, and overwrites nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import files
from stages.commands import draft
from stages.params import Params
from stages.table import reader
from stages.validate import expectations

Make = Callable[..., Params]


def test_a_draft_holds_for_the_table_it_was_drafted_from(table: pd.DataFrame, tmp_path: Path, params: Make) -> None:
    table.to_csv(tmp_path / "t.csv", index=False)
    read = reader.read(params(tmp_path / "t.csv").data)
    outcomes = expectations.evaluate(read, draft.draft(read, "y"))
    assert [outcome for outcome in outcomes if not outcome.success] == []


def test_names_that_mean_something_elsewhere_are_columns_like_any_other() -> None:
    names = ["<script>alert(1)</script>", "le", "a.b", "$PARAMETER", "{}", "$column", "__name__", "%s", "y"]
    odd = pd.DataFrame({name: np.repeat(["p", "q"], 15) for name in names})
    outcomes = expectations.evaluate(odd, draft.draft(odd, "y"))
    assert [outcome for outcome in outcomes if not outcome.success] == []


@pytest.mark.parametrize("width", ["int8", "int32", "uint16", "float32", "float64"])
def test_a_draft_does_not_care_how_wide_numbers_are_stored(width: str) -> None:
    narrow = pd.DataFrame({"y": np.arange(40, dtype=width)})
    outcomes = expectations.evaluate(narrow.astype("int64"), draft.draft(narrow, "y"))
    assert [outcome for outcome in outcomes if not outcome.success] == []


def test_a_moved_share_of_a_class_is_found() -> None:
    before = pd.DataFrame({"y": ["p"] * 20 + ["q"] * 20})
    after = pd.DataFrame({"y": ["p"] * 35 + ["q"] * 5})
    outcomes = expectations.evaluate(after, draft.draft(before, "y"))
    assert [each.expectation.kwargs["value_set"] for each in outcomes if not each.success] == [["q"]]


def test_a_category_that_was_never_seen_is_found() -> None:
    before = pd.DataFrame({"c": ["a", "b"] * 20, "y": ["p", "q"] * 20})
    after = before.replace({"c": {"b": "new"}})
    failed = [each for each in expectations.evaluate(after, draft.draft(before, "y")) if not each.success]
    assert [each.expectation.type for each in failed] == ["expect_column_values_to_be_in_set"]


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20))
def test_bounds_lie_around_what_was_seen(values: list[float]) -> None:
    low, high = draft._bounds(min(values), max(values))
    assert low <= min(values)
    assert high >= max(values)


def test_a_reviewed_suite_is_never_the_place_for_a_draft(tmp_path: Path, params: Make) -> None:
    reviewed = tmp_path / "reviewed.json"
    reviewed.write_text("{}")
    assert draft.destination(params(validate={"suite": str(reviewed)})) == files.SUITE_DRAFT


def test_a_suite_that_is_named_and_not_there_is_drafted_there(tmp_path: Path, params: Make) -> None:
    wanted = tmp_path / "wanted.json"
    assert draft.destination(params(validate={"suite": str(wanted)})) == wanted
