"""Calibrated probabilities match frequencies, in the served file as in scikit-learn, and harm no calibrated model."""

import hashlib
import io
from collections.abc import Callable

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import Pipeline

import service.model
from stages.errors import UserError
from stages.estimators import out_of_fold
from stages.estimators.calibration import calibrate, fit_calibrator
from stages.export import __main__ as export
from stages.export import parity
from stages.params.params import Params
from stages.partitions.served import score as score_rows
from stages.prepare import __main__ as prepare
from stages.schema import Schema
from stages.scores.calibration import calibration_metrics
from stages.scores.metrics import Classified
from stages.scores.units import Units
from stages.train import __main__ as train

Make = Callable[..., Params]
METHODS = ["sigmoid", "isotonic", "temperature"]


def pipelines(table: pd.DataFrame, wanted: Params) -> tuple[Pipeline, Pipeline, pd.DataFrame, Schema]:
    """Return the pipeline before and after its calibration, the test rows and the schema."""
    rows, test, schema = prepare.prepare(table, wanted)
    fitted = train.train(rows, schema.contract, wanted)
    return (
        fitted,
        calibrate(
            fitted, rows, schema.contract, out_of_fold.predict(rows, schema.contract, schema.split, wanted), wanted
        ),
        test,
        schema,
    )


def noisy(rows: int = 1500, classes: int = 2) -> pd.DataFrame:
    """Return a table on which boosting is too sure of itself."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 4))
    shares = softmax(X @ rng.normal(size=(4, classes)), axis=1)
    y = (shares.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    return pd.DataFrame(X, columns=[*"abcd"]).assign(y=[f"c{each}" for each in y])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "model", ["random_forest", "hist_gradient_boosting", "xgboost", "logistic_regression", "dummy"]
)
def test_the_exported_file_agrees_with_the_calibrated_pipeline(
    params: Make, model: str, classes: int, method: str
) -> None:
    _, calibrated, test, schema = pipelines(
        noisy(300, classes), params(model=model, n_estimators=3, calibration=method)
    )
    served = service.model.from_bytes(export.export(calibrated, schema.contract), "m.onnx")
    assert parity.compare(calibrated, served, test, score_rows(served, test))[0] < 5e-6


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_near_0_and_1_in_single_precision_agree_too(params: Make, method: str) -> None:
    table = noisy().assign(y=lambda rows: np.where(rows["a"] > 0, "yes", "no"))
    wanted = params(model="xgboost", n_estimators=100, calibration=method)
    _, calibrated, test, schema = pipelines(table, wanted)
    served = service.model.from_bytes(export.export(calibrated, schema.contract), "m.onnx")
    assert parity.compare(calibrated, served, test, score_rows(served, test))[0] < 2e-6


@pytest.mark.parametrize("method", METHODS)
def test_an_overfitted_model_gets_better_probabilities(params: Make, method: str) -> None:
    wanted = params(model="hist_gradient_boosting", n_estimators=60, calibration=method)
    before, after, test, _ = pipelines(noisy(), wanted)
    losses = [log_loss(test["y"], each.predict_proba(test)) for each in (before, after)]
    assert losses[1] < losses[0] - 0.02


@pytest.mark.parametrize("method", ["sigmoid", "temperature"])
def test_the_order_of_the_rows_stays(params: Make, method: str) -> None:
    before, after, test, _ = pipelines(noisy(), params(model="hist_gradient_boosting", calibration=method))
    first, second = (each.predict_proba(test)[:, 1] for each in (before, after))
    assert roc_auc_score(test["y"], first) == roc_auc_score(test["y"], second)
    assert (np.diff(second[np.argsort(first)]) >= 0).all()


def test_probabilities_are_those_of_out_of_fold_predictions(params: Make) -> None:
    # A forest without limits knows its training rows by heart: calibrated on them, it would be surer, not less sure.
    wanted = params(model="extra_trees", min_samples_leaf=1, n_estimators=50, calibration="sigmoid")
    _, after, _, _ = pipelines(noisy().assign(y=lambda rows: rows["y"].sample(frac=1, random_state=0).array), wanted)
    assert after["estimator"].calibrator.slopes[0] < 0.2


def outcome(probabilities: np.ndarray, y_true: np.ndarray) -> Classified:
    labels = tuple(range(probabilities.shape[1]))
    positive = 1 if len(labels) == 2 else None
    return Classified(labels, positive, y_true, probabilities, probabilities.argmax(axis=1))


def drawn(rng: np.random.Generator, rows: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw classes with known logits; return the probabilities of `factor` times the logits, and the classes."""
    logits = rng.normal(size=rows) * 1.5 - 0.5
    y_true = (rng.random(rows) < expit(logits)).astype(int)
    second = expit(factor * logits)
    return np.stack([1 - second, second], axis=1), y_true


@pytest.mark.parametrize(("method", "most"), [("sigmoid", 0.0005), ("isotonic", 0.004), ("temperature", 0.0005)])
def test_in_simulated_tables_it_mends_what_is_wrong_and_harms_nothing_else(method: str, most: float) -> None:
    rng = np.random.default_rng(1)
    new_errors, old_errors, harms = [], [], []
    for factor in [1.0] * 20 + [3.0] * 20:
        fitted_on, truth = drawn(rng, 3000, factor)
        calibrator = fit_calibrator(method, fitted_on, truth, np.ones(3000))
        fresh, y_true = drawn(rng, 20_000, factor)
        if factor == 1:
            harms.append(log_loss(y_true, calibrator(fresh)) - log_loss(y_true, fresh))
        else:
            units = Units("row", np.arange(20_000))
            errors = [calibration_metrics(outcome(each, y_true), units) for each in (fresh, calibrator(fresh))]
            old_errors.append(errors[0]["expected_calibration_error"])
            new_errors.append(errors[1]["expected_calibration_error"])
    assert np.mean(harms) < most
    assert min(old_errors) > 0.1
    assert max(new_errors) < 0.03


def test_the_slope_of_a_model_that_is_three_times_too_sure_is_a_third() -> None:
    probabilities, y_true = drawn(np.random.default_rng(0), 30_000, 3.0)
    calibrator = fit_calibrator("sigmoid", probabilities, y_true, np.ones(30_000))
    assert calibrator.slopes[0] == pytest.approx(1 / 3, abs=0.02)  # type: ignore[union-attr]
    assert calibrator.intercepts[0] == pytest.approx(0, abs=0.05)  # type: ignore[union-attr]


def test_zero_and_one_become_probabilities_between() -> None:
    certain = np.repeat([[1.0, 0.0], [0.0, 1.0]], 50, axis=0)
    y_true = np.repeat([0, 1], 50)
    for method in METHODS:
        calibrated = fit_calibrator(method, certain, y_true, np.ones(100))(certain)
        assert (calibrated > 0).all()
        assert (calibrated < 1).all()


def test_the_same_rows_give_the_same_bytes(params: Make) -> None:
    found = set()
    for _ in range(2):
        _, calibrated, _, schema = pipelines(noisy(300), params(calibration="isotonic"))
        joblib.dump(calibrated, file := io.BytesIO())
        content = file.getvalue() + export.export(calibrated, schema.contract)
        found.add(hashlib.md5(content, usedforsecurity=False).hexdigest())
    assert len(found) == 1


def test_a_regression_and_too_few_rows_are_refused(params: Make) -> None:
    table = noisy(200)
    with pytest.raises(UserError, match="calibration: 'sigmoid' is not for regression; use null"):
        pipelines(table.assign(y=table["a"]), params(model="ridge", calibration="sigmoid"))
    alone = table.assign(y=np.where(np.arange(200) == 3, "rare", "usual"))
    rows, _, schema = prepare.prepare(table, params())
    wanted = params(calibration="sigmoid")
    with pytest.raises(UserError, match="calibration: 'sigmoid' needs two folds with two classes each"):
        calibrate(
            train.train(rows, schema.contract, wanted),
            alone,
            schema.contract,
            out_of_fold.predict(alone, schema.contract, schema.split, wanted),
            wanted,
        )
