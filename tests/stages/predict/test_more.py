"""Explanations and coverage are those of the service."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.errors import UserError

Predict = Callable[..., None]


def to_instances(rows: pd.DataFrame) -> Any:
    return json.loads(rows.drop(columns=["id", "y"]).to_json(orient="records", date_format="iso", double_precision=15))


def test_explanations_are_those_of_the_service_and_add_up(
    rows: pd.DataFrame, predict: Predict, ask: Callable[..., Any], tmp_path: Path
) -> None:
    rows[:20].to_csv(tmp_path / "rows.csv", index=False)
    predict(tmp_path / "rows.csv", tmp_path / "out.csv", explain=True)

    answered = ask(json.dumps({"instances": to_instances(rows[:20])}), query="?explain=true").json()
    scored = pd.read_csv(tmp_path / "out.csv")
    given = pd.DataFrame(answered["explanations"])
    found = scored[["base_value", *(f"contribution_{name}" for name in given.columns[1:])]]
    assert found.to_numpy().tolist() == given.to_numpy().tolist()
    assert scored["explanation_error"].tolist() == answered["explanation_errors"]
    assert found.sum(axis=1).to_numpy() == pytest.approx(scored["probability_да"].to_numpy(), abs=1e-12)


def test_sets_are_those_of_the_service(
    csv: Path, rows: pd.DataFrame, predict: Predict, ask: Callable[..., Any], tmp_path: Path
) -> None:
    predict(csv, tmp_path / "out.csv", coverage=0.8, keep=[])

    answered = ask(rows.drop(columns=["id", "y"]).to_csv(index=False), "text/csv", "?coverage=0.8").text
    assert (tmp_path / "out.csv").read_text("utf-8") == answered


def test_a_level_that_cannot_be_promised_is_one_line(csv: Path, predict: Predict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--coverage 0.9999999 can't be promised: .* allow at most"):
        predict(csv, tmp_path / "out.csv", coverage=0.9999999)
