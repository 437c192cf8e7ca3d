"""The gate: what every table must fulfil, and what stops the pipeline."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages import files
from stages.errors import UserError
from stages.params import Params
from stages.validate import __main__ as stage
from stages.validate import suite as _suite
from stages.validate.outcomes import Outcome
from stages.validate.suite import Expectation, Suite

Make = Callable[..., Params]
ABSENT = Expectation("expect_column_values_to_not_be_null", {"column": "seats"}, origin="s.json, expectation 1")
NO_NUMBER = Expectation("expect_column_values_to_be_between", {"column": "le", "max_value": -99}, origin="s.json, 1")


def failed(table: pd.DataFrame, params: Params, suite: Suite | None = None) -> list[Outcome]:
    return [each for each in stage.validate(table, params, suite or Suite()) if not each.success]


def test_a_sound_table_passes_the_structural_expectations(table: pd.DataFrame, params: Make) -> None:
    assert failed(table, params()) == []


@pytest.mark.parametrize("rows", [1, 19])
def test_fewer_than_20_rows_are_refused(table: pd.DataFrame, params: Make, rows: int) -> None:
    assert "The table has at least 20 rows" in [each.sentence for each in failed(table.head(rows), params())]


def test_a_target_with_one_value_is_refused(table: pd.DataFrame, params: Make) -> None:
    (outcome,) = failed(table.assign(y="да"), params())
    assert outcome.sentence == "The target y has at least two different values"


def test_labels_are_counted_among_the_rows_with_a_target(table: pd.DataFrame, params: Make) -> None:
    (outcome,) = failed(table.assign(y=table["y"].where(table.index < 19)), params())
    assert outcome.sentence == "At least 20 rows have a value in the target y"


@pytest.mark.parametrize("width", ["int8", "int32", "float32", "int64"])
def test_a_regression_target_may_be_stored_as_any_number(table: pd.DataFrame, params: Make, width: str) -> None:
    numbers = table.assign(y=np.arange(len(table)).astype(width) % 100)
    assert failed(numbers, params(data={"task": "regression"})) == []


def test_a_regression_target_of_text_is_refused(table: pd.DataFrame, params: Make) -> None:
    assert [each.sentence for each in failed(table, params(data={"task": "regression"}))] == [
        "The target y holds numbers"
    ]


def test_the_line_that_stops_the_pipeline_names_file_count_and_remedy(table: pd.DataFrame, params: Make) -> None:
    chosen = params(validate={"suite": "s.json"})
    line = stage.verdict(stage.validate(table, chosen, Suite((NO_NUMBER,))), table, chosen)
    assert line is not None
    assert line.startswith("table.csv: 1 of 6 expectations failed, first: le values")
    assert "200 unexpected rows (100 %); correct the table or review s.json" in line


def test_a_suite_with_columns_that_are_not_there_tells_how_to_go_without(table: pd.DataFrame, params: Make) -> None:
    chosen = params(validate={"suite": "s.json"})
    line = stage.verdict(stage.validate(table, chosen, Suite((ABSENT,))), table, chosen)
    assert line is not None
    assert "columns that the table has not: seats; review it, or say validate.suite: null" in line


@pytest.mark.parametrize(
    ("reviewed_for", "expectations", "way"),
    [
        ("other.csv", (ABSENT,), True),
        ("other.csv", (ABSENT, NO_NUMBER), False),
        ("table.csv", (ABSENT,), False),
        (None, (ABSENT,), False),
    ],
)
def test_only_a_suite_reviewed_for_a_table_of_another_kind_gives_way(
    table: pd.DataFrame, params: Make, reviewed_for: str | None, expectations: tuple[Expectation, ...], *, way: bool
) -> None:
    assert stage.gives_way(Suite(expectations, reviewed_for), table, params()) is way


def test_a_suite_that_gives_way_says_so_and_what_to_do(table: pd.DataFrame, params: Make) -> None:
    chosen = params(validate={"suite": "s.json"})
    about = stage.about_suite(Suite((ABSENT,), "other.csv"), table, chosen)
    assert "s.json was reviewed for other.csv" in about
    assert "say validate.suite: null" in about


def test_the_reviewed_suite_of_the_demo_table_is_one_that_great_expectations_knows(root: Path) -> None:
    suite = _suite.read(root / "data/suites/flights.json")
    assert suite.table == str(files.DEMO)
    assert len([each for each in suite.expectations if "row_condition" in each.kwargs]) == 8


@pytest.fixture
def folder(table: pd.DataFrame, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the working folder, with a table and params that name it and the suite s.json."""
    monkeypatch.chdir(tmp_path)
    table.to_csv("table.csv", index=False)
    raw = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    raw["data"] |= {"path": "table.csv", "target": "y", "positive": None}
    raw["split"] |= {"method": "random", "time_column": None}
    Path("params.yaml").write_text(json.dumps(raw | {"validate": {"suite": "s.json"}}), encoding="utf-8")
    return tmp_path


def test_a_failing_gate_leaves_report_and_result_and_a_table_on_stderr(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.json").write_text(_suite.write("s", [NO_NUMBER]), encoding="utf-8")
    with pytest.raises(UserError):
        stage.main()
    assert json.loads(files.VALIDATION.read_text(encoding="utf-8"))["failed"] == 1
    assert "Stopped: 1 of 6" in files.VALIDATION_REPORT.read_text(encoding="utf-8")
    assert capsys.readouterr().err.splitlines()[1].count("row ") == 3


def test_a_run_in_another_folder_writes_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("s.json").write_text(_suite.write("s", [ABSENT]), encoding="utf-8")
    written = []
    for name in ("one", "two"):
        (folder.parent / f"{folder.name}-{name}").symlink_to(folder)
        monkeypatch.chdir(folder.parent / f"{folder.name}-{name}")
        with pytest.raises(UserError):
            stage.main()
        written.append((files.VALIDATION.read_bytes(), files.VALIDATION_REPORT.read_bytes()))
    assert written[0] == written[1]


def test_a_suite_that_dvc_does_not_watch_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    Path("s.json").write_text(_suite.write("s", [NO_NUMBER]), encoding="utf-8")
    with pytest.raises(UserError), caplog.at_level("INFO"):
        stage.main()
    assert "DVC sees edits of suites in data/suites alone" in caplog.text
