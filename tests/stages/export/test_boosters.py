"""A booster's file answers as its own library does, on rows that are hard to get right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import service.model
from stages.export import __main__ as export
from stages.export import parity
from stages.params.choice import Candidate, apply_choice
from stages.params.params import Params
from stages.partitions.served import score as score_rows
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train

Make = Callable[..., Params]
MODELS = ["lightgbm", "xgboost", "catboost", "auto"]
AVERAGED = ["lightgbm", "hist_gradient_boosting", "random_forest", "extra_trees"]
ROWS = 3000
EDGES = [0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 1e-35, 1e30, -1e30, 3.4028235e38, -3.4028235e38, np.nan]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return rows whose target depends on numbers with missing values and zeros, and on many categories."""
    rng = np.random.default_rng(7)
    table = pd.DataFrame(
        {
            "full": rng.normal(size=ROWS),
            "gaps": rng.normal(size=ROWS) * 1e-30,
            "zeros": rng.choice([0.0, -0.0, 1.0, -1.0], ROWS),
            "wide": rng.choice([1e30, -1e30, 3.0], ROWS) * rng.random(ROWS),
            "few": rng.choice([f"f{number}" for number in range(6)], ROWS),
            "many": rng.choice([f"m{number:02}" for number in range(70)], ROWS),
        }
    )
    by_category = table["many"].str[1:].astype(int) * 7 % 10 - 4.5
    table["value"] = table["full"] + by_category + (table["gaps"] > 0) * 2 + (table["few"] == "f3") * 3 + table["zeros"]
    for name in ("gaps", "few", "many"):
        table.loc[rng.random(ROWS) < 0.1, name] = None
    return table


TARGETS: dict[str, Callable[[pd.Series], Any]] = {
    "regression": lambda value: value,
    "binary": lambda value: np.where(value > 3, "yes", "no"),
    "multiclass": lambda value: pd.cut(value, [-np.inf, -2, 2, np.inf], labels=["a", "b", "c"]).astype(str),
}


def hard_rows(test: pd.DataFrame) -> pd.DataFrame:
    """Return each edge in each number of some test rows, with missing and unseen categories."""
    numbers = ["full", "gaps", "zeros", "wide"]
    parts = [test.head(20).assign(**{name: np.float32(edge)}) for name in numbers for edge in EDGES]
    rows = pd.concat(parts, ignore_index=True)
    rows.loc[::3, "few"] = "never seen"
    rows.loc[::4, "many"] = None
    rows.loc[1::4, "many"] = "never seen"
    return rows


def candidate(model: str, weight: float) -> Candidate:
    return Candidate(
        name=model, settings={"model": model, "n_estimators": 10}, score=0, deviation=0, loss=0, weight=weight
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("model", MODELS)
def test_the_exported_file_agrees_with_the_library(
    table: pd.DataFrame, params: Make, tmp_path: Path, target: str, model: str
) -> None:
    rows = table.drop(columns="value").assign(y=TARGETS[target](table["value"]))
    wanted = params(model=model, n_estimators=30)
    if model == "auto":
        # A ridge's values of the largest numbers overflow float32.
        members = AVERAGED if target == "regression" else [*AVERAGED, "logistic_regression"]
        wanted = apply_choice(wanted, [candidate(member, 1 / len(members)) for member in members])
    fitted, test, schema = prepare.prepare(rows, wanted)
    pipeline = train.train(fitted, schema.contract, wanted)
    (tmp_path / "m.onnx").write_bytes(export.export(pipeline, schema.contract))
    served = service.model.load(tmp_path / "m.onnx")

    for each in (test, hard_rows(test)):
        assert parity.compare(pipeline, served, each, score_rows(served, each))[0] < 1e-6
