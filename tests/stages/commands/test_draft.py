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
from stages.params.params import Params
from stages.table.reader import read_table
from stages.validate.expectations import evaluate

Make = Callable[..., Params]


def failed(table: pd.DataFrame, reviewed: pd.DataFrame) -> list[tuple[str, object]]:
    """Return type and values of the expectations of `reviewed`'s draft that fail for `table`."""
    configs = [
        each["expectation_config"] for each in evaluate(table, draft.draft(reviewed, "y")) if not each["success"]
    ]
    return [(config["type"], config["kwargs"].get("value_set")) for config in configs]


def test_a_draft_holds_for_the_table_it_was_drafted_from(table: pd.DataFrame, tmp_path: Path, params: Make) -> None:
    table.to_csv(tmp_path / "t.csv", index=False)
    read = read_table(params(tmp_path / "t.csv").data)[0]

    assert failed(read, read) == []


def test_names_that_mean_something_elsewhere_are_columns_like_any_other() -> None:
    names = ["<script>alert(1)</script>", "le", "a.b", "$PARAMETER", "{}", "$column", "__name__", "%s", "y"]
    odd = pd.DataFrame({name: np.repeat(["p", "q"], 15) for name in names})

    assert failed(odd, odd) == []


@pytest.mark.parametrize("width", ["int8", "uint16", "float32"])
def test_a_draft_does_not_care_how_wide_numbers_are_stored(width: str) -> None:
    narrow = pd.DataFrame({"y": np.arange(40, dtype=width)})

    assert failed(narrow.astype("int64"), narrow) == []


def test_a_moved_share_of_a_class_and_a_new_category_are_found() -> None:
    before = pd.DataFrame({"c": ["a", "b"] * 20, "y": ["p"] * 20 + ["q"] * 20})
    after = pd.DataFrame({"c": ["a", "new"] * 20, "y": ["p"] * 35 + ["q"] * 5})

    in_set = "expect_column_values_to_be_in_set"
    assert failed(after, before) == [(in_set, ["a", "b"]), (in_set, ["q"])]


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20))
def test_bounds_lie_around_what_was_seen(values: list[float]) -> None:
    low, high = draft.bounds(min(values), max(values))
    assert low <= min(values)
    assert high >= max(values)


def test_a_reviewed_suite_is_never_the_place_for_a_draft(tmp_path: Path, params: Make) -> None:
    reviewed = tmp_path / "reviewed.json"
    reviewed.write_text("{}")
    assert draft.destination(params(validate={"suite": str(reviewed)})) == files.SUITE_DRAFT


def test_a_suite_that_is_named_and_not_there_is_drafted_there(tmp_path: Path, params: Make) -> None:
    wanted = tmp_path / "wanted.json"
    assert draft.destination(params(validate={"suite": str(wanted)})) == wanted
