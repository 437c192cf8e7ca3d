"""Weights of rows count in fit, folds and calibration; constraints hold for the positive class."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from stages.errors import UserError
from stages.estimators import out_of_fold
from stages.estimators.calibration import calibrate
from stages.estimators.constraints import MODELS
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train

Make = Callable[..., Params]
CLASSIFIERS = [
    *("random_forest", "extra_trees", "hist_gradient_boosting", "gradient_boosting"),
    *("lightgbm", "xgboost", "catboost"),
    *("logistic_regression", "dummy"),
]
REGRESSORS = [*CLASSIFIERS[:7], "ridge", "dummy"]


def noisy(rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a = rng.normal(size=rows)
    table = pd.DataFrame({"a": a, "b": rng.normal(size=rows), "c": rng.choice([*"xyz"], rows)})
    return table.assign(
        when=pd.date_range("2020-01-01", periods=rows, freq="h"), y=np.where(a + rng.normal(size=rows) > 0, "yes", "no")
    )


def fitted(table: pd.DataFrame, wanted: Params) -> tuple[Pipeline, pd.DataFrame]:
    rows, test, schema = prepare.prepare(table, wanted)
    pipeline = train.train(rows, schema.contract, wanted)
    return calibrate(
        pipeline, rows, schema.contract, out_of_fold.predict(rows, schema.contract, schema.split, wanted), wanted
    ), test


@pytest.mark.parametrize("calibration", [None, "sigmoid"])
@pytest.mark.parametrize("model", CLASSIFIERS)
def test_a_class_with_heavier_rows_becomes_likelier(params: Make, model: str, calibration: str | None) -> None:
    table = noisy()
    shares = []
    for weight in (1.0, 9.0):
        wanted = params(model=model, min_samples_leaf=20, calibration=calibration, data={"weight": "w"})
        pipeline, test = fitted(table.assign(w=np.where(table["y"] == "yes", weight, 1.0)), wanted)
        shares.append(pipeline.predict_proba(test)[:, 1].mean())
    assert shares[1] > shares[0] + 0.1


@pytest.mark.parametrize("model", REGRESSORS)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_heavier_high_targets_raise_the_values(params: Make, model: str, offset: float) -> None:
    table = noisy().assign(y=lambda rows: rows["b"] + offset)
    means = []
    for weight in (1.0, 9.0):
        wanted = params(model=model, min_samples_leaf=50, n_estimators=5, data={"weight": "w"})
        pipeline, test = fitted(table.drop(columns="b").assign(w=np.where(table["b"] > 0, weight, 1.0)), wanted)
        means.append(pipeline.predict(test).mean())
    assert means[1] > means[0] + 0.1


def test_weights_in_another_unit_give_the_same_model(params: Make) -> None:
    table = noisy().assign(w=np.random.default_rng(1).random(600) + 0.1)
    wanted = params(model="logistic_regression", data={"weight": "w"})
    one, test = fitted(table, wanted)
    thousand, _ = fitted(table.assign(w=table["w"] * 1024), wanted)
    assert thousand.predict_proba(test) == pytest.approx(one.predict_proba(test), abs=1e-12)


def test_balanced_classes_and_weights_are_multiplied(params: Make) -> None:
    table = noisy()
    found = []
    for model in ("hist_gradient_boosting", "gradient_boosting"):  # with and without a parameter class_weight
        for class_weight in (None, "balanced"):
            wanted = params(model=model, class_weight=class_weight, min_samples_leaf=20, data={"weight": "w"})
            rare = table.assign(y=np.where(table["a"] > 1, "yes", "no"), w=1 + (table["a"] > 0))
            pipeline, test = fitted(rare.drop(columns="a"), wanted)
            found.append(pipeline.predict_proba(test)[:, 1].mean())
    assert found[1] > found[0] + 0.1
    assert found[3] > found[2] + 0.1


@pytest.mark.parametrize("positive", ["yes", "no"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("model", MODELS)
def test_the_probability_of_the_positive_class_follows_the_constraint(
    params: Make, model: str, sign: int, positive: str
) -> None:
    wanted = params(model=model, n_estimators=20, monotone={"b": sign}, data={"positive": positive})
    pipeline, test = fitted(noisy(), wanted)
    grid = test.loc[test.index.repeat(50)].assign(b=np.tile(np.linspace(-3, 3, 50), len(test)).astype("float32"))
    scores = pipeline.predict_proba(grid)[:, [*pipeline.classes_].index(positive)].reshape(-1, 50)
    assert (sign * np.diff(scores, axis=1) >= -1e-12).all()
    assert np.ptp(scores, axis=1).max() > 0


def test_without_a_constraint_noise_is_not_monotone(params: Make) -> None:
    pipeline, test = fitted(noisy(), params(model="hist_gradient_boosting", n_estimators=20))
    grid = test.head(1).loc[[test.index[0]] * 50].assign(b=np.linspace(-3, 3, 50).astype("float32"))
    steps = np.diff(pipeline.predict_proba(grid)[:, 1])
    assert (steps > 0).any()
    assert (steps < 0).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"monotone": {"z": 1}}, r"monotone: the model has no feature 'z'; it has a, b, c, when\.\w+"),
        ({"monotone": {"c": 1}}, "monotone: 'c' is a category, and categories have no order"),
        ({"monotone": {"when": 1}}, r"monotone: 'when' is a date; name one of its parts: when\.\w+"),
        ({"monotone": {"b": 1}, "model": "gradient_boosting"}, "monotone: is not for gradient_boosting; use hist_grad"),
        ({"monotone": {"b": 1}, "model": "logistic_regression"}, "monotone: is not for logistic_regression; use hist"),
    ],
)
def test_a_constraint_that_cannot_hold_is_refused(params: Make, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"params.yaml: {message}"):
        fitted(noisy(), params(**{"model": "hist_gradient_boosting", **changes}))


def test_a_constraint_on_three_classes_is_refused(params: Make) -> None:
    table = noisy().assign(y=lambda rows: rows["c"])
    with pytest.raises(UserError, match="monotone: is for two classes or a regression, this target has 3 classes"):
        fitted(table, params(model="hist_gradient_boosting", monotone={"b": 1}))
