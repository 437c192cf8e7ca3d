"""The errors in the file give intervals and sets that contain the truth as often as they promise."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from crepes import ConformalClassifier, ConformalRegressor  # type: ignore[import-untyped]

from service.coverage import Coverage, LevelError, intervals, sets
from stages.estimators import out_of_fold
from stages.estimators.calibration import calibrate
from stages.export import coverage
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.schema import Split
from stages.train import __main__ as train

Make = Callable[..., Params]
LEVELS = [0.5, 0.8, 0.9, 0.95, 0.99]


def from_errors(errors: np.ndarray, folds: int = 5) -> Coverage:
    ranks = coverage.choose_ranks(len(errors))
    stored = tuple(coverage.round_up(coverage.pick(errors, np.arange(len(errors)) * folds // len(errors), ranks)))
    return Coverage(levels=(0.9,), rows=len(errors), units=len(errors), ranks=tuple(ranks.tolist()), errors=stored)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rows", [100, 137, 1000])
def test_intervals_are_those_of_crepes(rows: int, level: float) -> None:
    rng = np.random.default_rng(rows)
    residuals, predicted = rng.standard_t(3, rows), rng.normal(size=50)
    reference = ConformalRegressor().fit(residuals).predict_int(predicted, confidence=level)
    ours = intervals(predicted, from_errors(np.abs(residuals)).bound(level))
    assert np.array(ours) == pytest.approx(reference, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_sets_are_those_of_crepes(classes: int, level: float) -> None:
    rng = np.random.default_rng(classes)
    errors = rng.beta(1, 3, 400)
    probabilities = rng.dirichlet(np.ones(classes), 200).astype(np.float32)
    reference = ConformalClassifier().fit(errors).predict_set(1 - probabilities, confidence=level, smoothing=False)
    ours = sets(probabilities, tuple(range(classes)), from_errors(errors).bound(level))
    assert [[int(each in row) for each in range(classes)] for row in ours] == reference.tolist()
    bound = from_errors(errors).bound(level)
    assert [sets(row, tuple(range(classes)), bound)[0] for row in probabilities[:, None]] == ours


@pytest.mark.parametrize("rows", [1, 9, 1001, 50_000, 1_000_003])
def test_a_level_never_gets_a_smaller_error_than_asked_for_and_hardly_a_larger_one(rows: int) -> None:
    ranks = coverage.choose_ranks(rows)
    assert len(ranks) <= 1000
    assert ranks[-1] == rows
    about = from_errors(np.arange(1, rows + 1).astype(float))
    for level in [0.01, 0.3, *LEVELS, 0.999, 0.9999]:
        wanted = math.ceil(level * (rows + 1) - 1e-9)
        if wanted > rows:
            with pytest.raises(LevelError, match="allow at most 0"):
                about.bound(level)
            continue
        got = about.bound(level)
        assert wanted <= got <= wanted + max(1, min(0.002 * rows, 0.03 * (rows - wanted) + 1)) + 1e-6 * rows


def test_an_error_is_the_distance_or_what_the_true_class_lacks(params: Make) -> None:
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(90, 2)), columns=[*"ab"])
    for target, wanted in (
        (table["a"] * 2 + table["b"] ** 2, params(model="ridge")),
        (np.where(table["a"] + table["b"] > 0.4, "yes", "no"), params(model="logistic_regression")),
    ):
        rows, _, schema = prepare.prepare(table.assign(y=target), wanted)
        predicted = out_of_fold.predict(rows, schema.contract, schema.split, wanted)
        found = coverage.find_errors(predicted, rows, schema.contract, wanted)
        y = rows["y"].iloc[predicted.places].to_numpy()
        if predicted.scores.ndim == 1:
            assert found == pytest.approx(np.abs(y.astype(float) - predicted.scores))
        else:
            assert found == pytest.approx(1 - predicted.scores[np.arange(len(y)), (y == "yes").astype(int)], abs=2e-6)


@pytest.mark.parametrize(("share", "level", "expected"), [(0.87, 0.8, 0.87), (0.87, 0.9, 1.0), (0.6, 0.65, 1.0)])
def test_a_model_that_knows_one_row_keeps_the_promise_in_every_table(
    share: float, level: float, expected: float
) -> None:
    for seed in range(20):
        positive = np.sort(np.random.default_rng(seed).random(500) < share)
        folds = np.arange(500) % 5  # each with the same share, as the folds of classes have
        shares = np.array([positive[folds != fold].mean() for fold in range(5)])[folds]
        errors = 1 - np.where(positive, shares, 1 - shares)
        order = np.argsort(folds, kind="stable")
        known = positive.mean()
        (found,) = sets(np.array([[1 - known, known]]), (0, 1), from_errors(errors[order]).bound(level))
        assert sum(abs(1 - share - int(label)) for label in found) == pytest.approx(expected)


def test_the_mean_of_counts_keeps_the_promise_in_every_table() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y, folds = rng.poisson(2.5, 5000), np.arange(5000) // 1000
        errors = np.abs(y - np.array([y[folds != fold].mean() for fold in range(5)])[folds])
        about = from_errors(errors)
        for level in (0.5, 0.8, 0.9):
            assert (np.abs(y - y.mean()) <= about.bound(level)).mean() >= level


def draw(rng: np.random.Generator, rows: int, target: str) -> pd.DataFrame:
    X = rng.normal(size=(rows, 3))
    table = pd.DataFrame(X, columns=[*"abc"])
    match target:
        case "noise that grows":
            return table.assign(y=X[:, 0] + rng.normal(size=rows) * np.exp(X[:, 1]))
        case "ten classes":
            shares = np.exp(X @ np.random.default_rng(7).normal(size=(3, 10)) + np.linspace(0, 2, 10))
            drawn = (shares.cumsum(axis=1) < rng.random((rows, 1)) * shares.sum(axis=1, keepdims=True)).sum(axis=1)
            return table.assign(y=[f"c{each}" for each in drawn])
        case _:
            return table.assign(y=np.where(X[:, 0] + rng.logistic(size=rows) > 2.2, "rare", "usual"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "rows", "changes"),
    [
        ("noise that grows", 150, {"model": "ridge"}),
        ("noise that grows", 500, {"model": "hist_gradient_boosting"}),
        ("a rare class", 150, {"model": "logistic_regression"}),
        ("a rare class", 500, {"model": "hist_gradient_boosting", "calibration": "sigmoid"}),
        ("ten classes", 800, {"model": "logistic_regression"}),
    ],
)
def test_nine_of_ten_new_rows_are_in_their_interval_or_set(
    params: Make, target: str, rows: int, changes: dict[str, str]
) -> None:
    wanted = params(n_estimators=20, **changes)
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        train_rows, _, schema = prepare.prepare(draw(rng, rows, target), wanted)
        contract = schema.contract
        predicted = out_of_fold.predict(train_rows, contract, schema.split, wanted)
        pipeline = calibrate(train.train(train_rows, contract, wanted), train_rows, contract, predicted, wanted)
        about = coverage.describe_coverage(predicted, train_rows, contract, schema.split, wanted)
        assert about
        new = draw(rng, 1000, target)
        if not contract.classes:
            shares.append((np.abs(pipeline.predict(new) - new["y"]) <= about.bound(0.9)).mean())
            continue
        found = sets(pipeline.predict_proba(new), contract.classes, about.bound(0.9))
        shares.append(np.mean([label in each for label, each in zip(new["y"], found, strict=True)]))
    error = np.std(shares) / np.sqrt(len(shares))
    # The full model sees more rows than those of the folds, so it may do a little better than promised.
    assert 0.9 - 3 * error < np.mean(shares) < 0.9 + 0.015 + 3 * error


@pytest.mark.parametrize(("method", "units"), [("group", 12), ("random", 12), ("time", 200)])
def test_rows_of_a_group_or_key_count_as_one(method: str, units: int) -> None:
    rows = pd.DataFrame({"g": np.arange(200) % 12})
    assert coverage.count_units(rows, Split(method=method, column="g")) == units


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration": "sigmoid", "model": "random_forest"},
        {"class_weight": "balanced", "model": "lightgbm", "early_stopping": 3},
        {"data": {"weight": "w"}, "model": "logistic_regression"},
        {"evaluate": {"threshold": "auto", "costs": {"false_positive": 1.0, "false_negative": 9.0}}},
        {"model": "sklearn.naive_bayes:GaussianNB"},
        {"model": "dummy"},
    ],
    ids=lambda each: next(iter(each)),
)
def test_each_setting_of_a_classifier_has_sets(params: Make, changes: dict[str, Any]) -> None:
    wanted = params(**{"evaluate": {"threshold": 0.5}} | changes)
    table = draw(np.random.default_rng(0), 300, "a rare class").assign(w=np.arange(300) % 3 + 1.0)
    rows, _, schema = prepare.prepare(table, wanted)
    predicted = train.predict_out_of_fold(rows, schema, wanted)
    about = coverage.describe_coverage(predicted, rows, schema.contract, schema.split, wanted)
    assert about
    assert about.rows == about.units == len(rows)
    assert 0 < about.bound(0.5) <= about.bound(0.95) <= 1.00001


def test_null_and_no_folds_leave_the_file_without(params: Make, table: pd.DataFrame) -> None:
    for evaluate in ({"coverage": None}, {"folds": 0}):
        wanted = params(evaluate={"threshold": 0.5, "folds": 5} | evaluate)
        rows, _, schema = prepare.prepare(table, wanted)
        predicted = train.predict_out_of_fold(rows, schema, wanted)
        assert coverage.describe_coverage(predicted, rows, schema.contract, schema.split, wanted) is None
