"""Tables for spreadsheets: nothing in them runs, and numbers stay numbers."""

from pathlib import Path

import pandas as pd
import pytest

from stages.evaluate.spreadsheet import write_csv


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1"])
def test_text_that_a_spreadsheet_would_run_is_made_harmless(tmp_path: Path, text: str) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({text: [text, "plain"]}))

    found = pd.read_csv(tmp_path / "t.csv")
    assert list(found) == [f"'{text}"]
    assert found.iloc[:, 0].tolist() == [f"'{text}", "plain"]


def test_no_row_begins_within_a_cell(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"a": ["x\r=1+1", "\r=1"]}))

    assert (tmp_path / "t.csv").read_bytes() == b"a\nx =1+1\n' =1\n"


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [-1.5, float("nan")], "b": [-2, 3], "c": ["-1", "+2.5e3"], "d": [True, False]})

    write_csv(tmp_path / "t.csv", table)

    assert (tmp_path / "t.csv").read_text() == table.to_csv(index=False, lineterminator="\n")
