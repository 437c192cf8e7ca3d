"""The command gives the answers of the service, to the last digit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.errors import UserError


def test_a_csv_file_gets_the_answers_of_the_service_character_by_character(
    csv: Path, rows: pd.DataFrame, predict: Callable[..., None], ask: Callable[..., Any], tmp_path: Path
) -> None:
    predict(csv, tmp_path / "out.csv")

    answered = ask(rows.drop(columns=["id", "y"]).to_csv(index=False), "text/csv").text.splitlines()
    scored = (tmp_path / "out.csv").read_text("utf-8").splitlines()
    assert scored[0] == f"id,{answered[0]}"
    assert scored[1:] == [f"{row:03},{line}" for row, line in enumerate(answered[1:])]


def test_a_csv_file_gets_the_numbers_of_the_service_for_json(
    csv: Path, rows: pd.DataFrame, predict: Callable[..., None], ask: Callable[..., Any], tmp_path: Path
) -> None:
    predict(csv, tmp_path / "out.csv")

    instances = json.loads(
        rows.drop(columns=["id", "y"]).to_json(orient="records", date_format="iso", double_precision=15)
    )
    answered = ask(json.dumps({"instances": instances})).json()
    scored = pd.read_csv(tmp_path / "out.csv")
    assert scored["prediction"].tolist() == answered["predictions"]
    for name in answered["probabilities"][0]:
        assert scored[f"probability_{name}"].tolist() == [each[name] for each in answered["probabilities"]]


def test_a_wrong_cell_stops_the_command_with_its_line_and_nothing_is_written(
    rows: pd.DataFrame, predict: Callable[..., None], tmp_path: Path
) -> None:
    table = rows.astype({"size": "object"})
    table.loc[7, "size"] = "large"
    table.to_csv(tmp_path / "rows.csv", index=False)

    with pytest.raises(UserError, match=r"rows.csv: line 9, column 'size': expected a finite number, got .large"):
        predict(tmp_path / "rows.csv", tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_one_row_is_called_one_row(
    rows: pd.DataFrame, predict: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows.head(1).to_csv(tmp_path / "rows.csv", index=False)
    with caplog.at_level("INFO", "stages"):
        predict(tmp_path / "rows.csv", tmp_path / "out.csv")

    assert "1 row scored in" in caplog.text
