"""The report for people: whole in one file, nothing of the data in it is ever markup."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.validate import report
from stages.validate.outcomes import Example, Outcome, failures, found, shortened
from stages.validate.suite import Expectation


def outcome(text: str = "a", *, success: bool = False) -> Outcome:
    expectation = Expectation("expect_column_values_to_be_in_set", {"column": text}, origin="s.json, expectation 1")
    examples = () if success else (Example(2, text),)
    return Outcome(expectation, f"{text} is in the set", success, None, 1, 0.5, examples)


@pytest.mark.parametrize(("success", "verdict"), [(True, "Passed: all 1"), (False, "Stopped: 1 of 1")])
def test_the_verdict_stands_at_the_top(*, success: bool, verdict: str) -> None:
    assert f">{verdict} expectations" in report.html([outcome(success=success)], [])


@given(st.text(alphabet="<>&\"'/script{}$%"))
def test_text_of_the_table_adds_no_element(text: str) -> None:
    def elements(page: str) -> list[str]:
        return re.findall(r"</?\w+", page)

    assert elements(report.html([outcome(text)], [text])) == elements(report.html([outcome("a")], ["a"]))


def test_the_report_needs_nothing_from_elsewhere() -> None:
    page = report.html([outcome()], ["data/table.csv"])
    assert re.findall(r"https?:|src=|<link|<script", page) == []


def test_a_failure_is_shown_with_its_example_and_row() -> None:
    assert "row 2 <code>Ω</code>" in report.html([outcome("Ω")], [])


def test_the_table_on_the_terminal_has_a_line_for_each_of_the_first_failures() -> None:
    lines = failures([outcome(str(place)) for place in range(30)])
    assert len(lines) == 22
    assert lines[-1] == "and 10 more"


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    assert all(line.isprintable() for line in failures([outcome(text)]))


def test_a_long_cell_is_cut() -> None:
    assert shortened("x" * 99, 10) == "xxxxxxxxx…"


def test_missing_columns_are_told_in_words() -> None:
    seen = Outcome(Expectation("t", {}), "s", success=False, observed={"missing": ["a", "b"]})
    assert found(seen) == "observed missing: a, b"
