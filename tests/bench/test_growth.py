"""What `make bench` changes in its clone."""

import json
import shutil
from pathlib import Path

from tests.bench.growth import lift_row_limit


def test_ten_times_the_rows_meet_no_limit_of_the_suite(root: Path, tmp_path: Path) -> None:
    suite = Path(shutil.copy(root / "data/suites/flights.json", tmp_path))
    before = json.loads(suite.read_text("utf-8"))["expectations"]
    lift_row_limit(suite)
    after = json.loads(suite.read_text("utf-8"))["expectations"]

    assert [each["type"] for each in before if each not in after] == ["expect_table_row_count_to_be_between"]
