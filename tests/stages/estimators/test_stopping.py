"""Early stopping finds the rounds on held-out training rows, and fits all of them with that many."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stages.estimators import fitting, out_of_fold, stopping
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.schema import Schema, Split

MODELS = ["lightgbm", "xgboost", "catboost", "hist_gradient_boosting", "gradient_boosting"]
SPLITS = [
    Split(method="random", column=None),
    Split(method="time", column="moment"),
    Split(method="group", column="group"),
]
Prepared = tuple[pd.DataFrame, Schema, Params]
Make = Callable[..., Prepared]


def noisy(rows: int = 600) -> pd.DataFrame:
    """Return a target with little to learn, so that many rounds overfit."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame({name: rng.normal(size=rows) for name in "abc"})
    table["group"] = rng.integers(0, 30, rows).astype(str)
    table["moment"] = np.arange(rows)
    return table.assign(y=np.where(table["a"] + 2 * rng.normal(size=rows) > 0, "yes", "no"))


@pytest.fixture
def prepared(params: Callable[..., Params]) -> Make:
    def make(table: pd.DataFrame, **changes: object) -> Prepared:
        wanted = params(**({"n_estimators": 150, "early_stopping": 10, "learning_rate": 0.3} | changes))
        return table, prepare.prepare(table, wanted)[2], wanted

    return make


@pytest.mark.parametrize("split", SPLITS, ids=lambda each: each.method)
@pytest.mark.parametrize("model", MODELS)
def test_rounds_end_long_before_they_overfit(prepared: Make, model: str, split: Split) -> None:
    rows, schema, wanted = prepared(noisy(), model=model)

    found = stopping.limit_rounds(rows, schema.contract, split, wanted)

    assert 1 <= found.n_estimators <= 60
    assert found == wanted.model_copy(update={"n_estimators": found.n_estimators})


@pytest.mark.parametrize("target", ["multiclass", "regression", "far from zero"])
@pytest.mark.parametrize("model", MODELS)
def test_every_target_can_be_watched(prepared: Make, model: str, target: str) -> None:
    table = noisy(300)
    values = table["a"] + np.random.default_rng(0).normal(size=300)
    table["y"] = {"multiclass": np.digitize(values, [-1, 1]), "regression": values, "far from zero": values + 1e6}[
        target
    ]
    rows, schema, wanted = prepared(table, model=model, n_estimators=60)

    found = stopping.limit_rounds(rows, schema.contract, SPLITS[0], wanted)

    assert 1 <= found.n_estimators < 60


@pytest.mark.parametrize("model", MODELS)
def test_more_is_learnt_where_there_is_more_to_learn(prepared: Make, model: str) -> None:
    clear = noisy().assign(y=lambda table: np.where(table["a"] * table["b"] + table["c"] > 0, "yes", "no"))

    rounds = [
        stopping.limit_rounds(rows, schema.contract, SPLITS[0], wanted).n_estimators
        for rows, schema, wanted in (prepared(noisy(), model=model), prepared(clear, model=model))
    ]

    assert rounds[1] > rounds[0]


@pytest.mark.parametrize("model", ["random_forest", "lightgbm"])
def test_without_early_stopping_the_number_stays(prepared: Make, model: str) -> None:
    rows, schema, wanted = prepared(noisy(), model=model, early_stopping=None)

    assert stopping.limit_rounds(rows, schema.contract, SPLITS[0], wanted) is wanted


def test_balanced_classes_count_alike_on_the_held_out_rows(prepared: Make) -> None:
    table = noisy().assign(y=lambda rows: np.where(rows["a"] > 1.2, "yes", "no"))
    rows, schema, wanted = prepared(table, model="lightgbm", class_weight="balanced", n_estimators=40)

    assert stopping.limit_rounds(rows, schema.contract, SPLITS[0], wanted).n_estimators > 1


def test_each_fold_stops_by_its_own_rows(prepared: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, schema, wanted = prepared(noisy(), model="lightgbm")
    fitted = []
    fit = fitting.fit

    def noted(part: pd.DataFrame, contract: object, params: Params, **options: int) -> object:
        fitted.append((len(part), params.n_estimators))
        return fit(part, contract, params, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(fitting, "fit", noted)
    out_of_fold.predict(rows, schema.contract, SPLITS[0], wanted)

    assert len(fitted) == 5
    assert all(rounds < 60 for _, rounds in fitted)
