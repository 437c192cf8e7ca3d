"""The gate: what every table must fulfil, and what stops the pipeline."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages import files
from stages.errors import UserError
from stages.params.params import Params
from stages.validate import __main__ as stage
from stages.validate.suite import Entry, Suite

Make = Callable[..., Params]
ABSENT: Entry = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "seats"}}
NO_NUMBER: Entry = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "le", "max_value": -99}}


def failed(table: pd.DataFrame, params: Params) -> list[str]:
    results = stage.validate(table, params, Suite())
    return [each["expectation_config"]["description"] for each in results if not each["success"]]


def test_a_sound_table_passes_the_structural_expectations(table: pd.DataFrame, params: Make) -> None:
    assert failed(table, params()) == []


@pytest.mark.parametrize(
    ("change", "data", "expected"),
    [
        (lambda table: table.head(19), {}, "The table has at least 20 rows"),
        (lambda table: table.assign(y="да"), {}, "The target y has at least two different values"),
        (
            lambda table: table.assign(y=table["y"].where(table.index < 19)),
            {},
            "At least 20 rows have a value in the target y",
        ),
        (lambda table: table, {"task": "regression"}, "The target y holds numbers"),
    ],
)
def test_what_no_model_can_learn_from_is_refused(
    table: pd.DataFrame, params: Make, change: Any, data: dict[str, str], expected: str
) -> None:
    assert expected in failed(change(table), params(data=data))


@pytest.mark.parametrize(("method", "setting"), [("random", "key"), ("group", "group_column"), ("time", "time_column")])
def test_a_column_of_the_split_that_is_not_there_is_named_with_its_setting(
    table: pd.DataFrame, params: Make, method: str, setting: str
) -> None:
    split = {"method": method, "test_size": 0.3, setting: "id"}

    assert failed(table, params(split=split)) == [f"id is in the table: params.yaml names it in split.{setting}"]


@pytest.mark.parametrize("width", ["int8", "float32", "int64"])
def test_a_regression_target_may_be_stored_as_any_number(table: pd.DataFrame, params: Make, width: str) -> None:
    numbers = table.assign(y=np.arange(len(table)).astype(width) % 100)

    assert failed(numbers, params(data={"task": "regression"})) == []


def stopped(table: pd.DataFrame, params: Params, *entries: Entry) -> str:
    with pytest.raises(UserError) as caught:
        stage.stop(stage.validate(table, params, Suite(list(entries))), table, params)
    return str(caught.value)


def test_the_first_line_counts_and_names_the_remedy_and_each_failure_follows(table: pd.DataFrame, params: Make) -> None:
    head, line = stopped(table, params(validate={"suite": "s.json"}), NO_NUMBER).split("\n")

    assert head.startswith("table.csv: 1 of 6 expectations failed; correct the table or review s.json; all in ")
    assert line.startswith("le values must be less than or equal to -99.0. | 200 unexpected rows (100 %) | row 2: ")


def test_a_suite_with_columns_that_are_not_there_says_how_to_go_without(table: pd.DataFrame, params: Make) -> None:
    lines = stopped(table, params(validate={"suite": "s.json"}), ABSENT)

    assert "review it, or set validate.suite to null" in lines
    assert "the table has no column seats" in lines


def test_a_mistake_in_params_is_not_blamed_on_the_suite(table: pd.DataFrame, params: Make) -> None:
    lines = stopped(
        table.drop(columns="y"), params(validate={"suite": "s.json"}), dict(ABSENT, kwargs={"column": "le"})
    )

    assert "correct the table or params.yaml" in lines


@pytest.mark.parametrize(
    ("reviewed_for", "entries", "expected"),
    [
        ("other.csv", [ABSENT], True),
        ("other.csv", [ABSENT, NO_NUMBER], False),
        ("table.csv", [ABSENT], False),
        (None, [ABSENT], False),
    ],
)
def test_only_a_suite_reviewed_for_a_table_of_another_kind_is_passed_over(
    table: pd.DataFrame, params: Make, reviewed_for: str | None, entries: list[Entry], *, expected: bool
) -> None:
    suite, chosen = Suite(entries, reviewed_for), params(validate={"suite": "s.json"})

    assert stage.is_for_another_table(suite, table, chosen) is expected
    assert ("s.json was reviewed for other.csv" in stage.describe_suite(suite, table, chosen)) is expected


def test_a_failing_gate_leaves_the_report_the_same_in_every_folder(
    table: pd.DataFrame, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raw = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    raw["data"] |= {"path": "table.csv", "target": "y", "positive": None}
    raw["split"] |= {"method": "random", "time_column": None}
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        table.to_csv("table.csv", index=False)
        Path("params.yaml").write_text(
            json.dumps(raw | {"features": {}, "validate": {"suite": "s.json"}}), encoding="utf-8"
        )
        Path("s.json").write_text(json.dumps({"expectations": [NO_NUMBER, ABSENT]}), encoding="utf-8")
        with pytest.raises(UserError), caplog.at_level("INFO"):
            stage.main()
        written.append((files.VALIDATION.read_bytes(), files.VALIDATION_REPORT.read_bytes()))

    assert written[0] == written[1]
    assert json.loads(written[0][0])["success"] is False
    assert b"Stopped: 2 of 7" in written[0][1]
    assert not files.TYPED.exists()
    assert "DVC watches suites in data/suites only" in caplog.text
