"""Permutation importance through the served file: what matters comes first, whatever the model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import service.model
from stages.evaluate import importance
from stages.export import __main__ as export
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train

Make = Callable[..., tuple[service.model.Model, pd.DataFrame]]


def ruled(task: str, rows: int = 200) -> pd.DataFrame:
    """Return a table whose target depends only on the column `rules`."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"noise": rng.normal(size=rows), "rules": rng.normal(size=rows)})
    table["when"] = pd.date_range("2020-01-01", periods=rows, freq="37h")
    if task == "regression":
        return table.assign(y=table["rules"] * 10)
    return table.assign(y=pd.qcut(table["rules"], 2 if task == "binary" else 3, labels=False))


@pytest.fixture
def served(params: Callable[..., Params], tmp_path: Path) -> Make:
    """Return a function that fits a table and gives the served model with the test rows."""

    def fit(table: pd.DataFrame, model: str) -> tuple[service.model.Model, pd.DataFrame]:
        task = "regression" if table["y"].dtype == float else "classification"
        wanted = params(model=model, data={"task": task})
        rows, test, schema = prepare.prepare(table, wanted)
        content = export.export(train.train(rows, schema.contract, wanted), schema.contract)
        return service.model.from_bytes(content, "m.onnx"), test

    return fit


def found(model: service.model.Model, rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    return importance.compute_importance(model, rows, seed)


CASES = [
    ("binary", "random_forest"),
    ("binary", "logistic_regression"),
    ("multiclass", "hist_gradient_boosting"),
    ("regression", "extra_trees"),
    ("regression", "ridge"),
]


@pytest.mark.parametrize(("task", "model"), CASES)
def test_the_column_that_decides_the_target_comes_first(served: Make, task: str, model: str) -> None:
    table = found(*served(ruled(task), model))
    assert sorted(table["feature"]) == ["noise", "rules", "when"]
    assert table.loc[0, "feature"] == "rules"
    first, second, _ = table["importance"].to_numpy(float)
    assert first > 5 * abs(second)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_nothing_matters_to_a_dummy(served: Make, task: str) -> None:
    assert found(*served(ruled(task), "dummy"))["importance"].to_numpy() == pytest.approx(0, abs=1e-9)


def test_the_same_seed_shuffles_alike(served: Make) -> None:
    model, rows = served(ruled("binary"), "random_forest")
    assert found(model, rows).equals(found(model, rows))
    assert not found(model, rows).equals(found(model, rows, seed=1))


def test_the_rows_that_were_given_stay_as_they_are(served: Make) -> None:
    model, rows = served(ruled("binary"), "random_forest")
    before = rows.copy()
    importance.compute_importance(model, rows, 0)
    pd.testing.assert_frame_equal(rows, before)


def test_six_rows_are_enough(served: Make) -> None:
    model, rows = served(ruled("binary"), "random_forest")
    assert np.isfinite(found(model, rows.head(6))["importance"]).all()
