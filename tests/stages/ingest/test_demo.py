"""The demo table has a suite of its own."""

from pathlib import Path

from stages import files
from stages.validate.suite import read


def test_the_reviewed_suite_of_the_demo_table_is_one_that_great_expectations_knows(root: Path) -> None:
    suite = read(root / "data/suites/flights.json")

    assert suite.table == str(files.DEMO)
    assert len([each for each in suite.entries if "row_condition" in each["kwargs"]]) == 8
