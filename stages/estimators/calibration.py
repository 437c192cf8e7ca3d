"""Calibrate a classifier's probabilities on out-of-fold predictions of the training rows."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.contract import Contract
from stages.errors import UserError
from stages.estimators import fitting
from stages.estimators.calibrators import (
    CalibratedClassifier,
    Calibrator,
    Isotonic,
    Sigmoid,
    Temperature,
    last_or_all,
    squeeze,
)
from stages.estimators.out_of_fold import OutOfFold
from stages.params.params import Params
from stages.scores.metrics import Classified, Codes, Floats

_DIGITS = 12
_SLOPES = (1e-3, 1e3)
"""A slope is above 0, so that the order of the rows stays."""
_TEMPERATURES = (1e-2, 1e2)


def calibrate(
    pipeline: Pipeline, train: pd.DataFrame, contract: Contract, predicted: OutOfFold, params: Params
) -> Pipeline:
    """Return the fitted `pipeline` with calibrated probabilities as `params.calibration` says; itself for null.

    The calibrator is fitted on the out-of-fold predictions of training rows. Row weights count.

    Raises UserError if the training rows give fewer than two folds.
    """
    if params.calibration is None:
        return pipeline
    if not len(predicted.places):
        raise UserError(
            f"params.yaml: calibration: {params.calibration!r} needs two folds with two classes each, and the "
            f"{len(train):,} training rows don't give them; use null or add rows"
        )
    probabilities, y_true, weights = calibration_rows(predicted, train, contract, params)
    calibrator = fit_calibrator(params.calibration, probabilities, y_true, weights)
    return Pipeline([*pipeline.steps[:-1], ("estimator", CalibratedClassifier(pipeline["estimator"], calibrator))])


def calibration_rows(
    predicted: OutOfFold, train: pd.DataFrame, contract: Contract, params: Params
) -> tuple[Floats, Codes, Floats]:
    """Return out-of-fold probabilities of shape (rows, classes), places of the true classes, and rows' weights."""
    outcomes = [each for each in predicted.outcomes(train, contract) if isinstance(each, Classified)]
    return (
        np.concatenate([each.probabilities for each in outcomes]),
        np.concatenate([each.y_true for each in outcomes]),
        fitting.row_weights(train.iloc[predicted.places], params),
    )


def fit_calibrator(method: str, probabilities: Floats, y_true: Codes, weights: Floats) -> Calibrator:
    """Fit a calibrator on probabilities of shape (rows, classes), places of the true classes, and rows' weights."""
    weights = weights / weights.mean()
    with threadpool_limits(1):  # a sum over more threads depends on their number
        if method == "temperature":
            return _fit_temperature(probabilities, y_true, weights)
        columns = last_or_all(probabilities).T
        labels = (1,) if len(columns) == 1 else range(len(columns))
        against_rest = [(column, y_true == label) for column, label in zip(columns, labels, strict=True)]
        if method == "isotonic":
            return Isotonic(tuple(_fit_curve(column, positive, weights) for column, positive in against_rest))
        lines = np.array([_fit_line(column, positive, weights) for column, positive in against_rest])
        return Sigmoid(slopes=lines[:, 0].copy(), intercepts=lines[:, 1].copy(), rows=len(y_true))


def _fit_line(probabilities: Floats, positive: Floats, weights: Floats) -> Floats:
    """Return slope and intercept of the least log loss.

    The targets are Platt's (2000), a little inside 0 and 1, so that a perfect separation gives a finite slope.
    """
    logits = logit(squeeze(probabilities, len(probabilities), 2))
    positives = float(weights @ positive)
    negatives = float(weights.sum()) - positives
    targets = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(line: Floats) -> tuple[float, Floats]:
        raw = line[0] * logits + line[1]
        residuals = weights * (expit(raw) - targets)
        # The log loss of a sigmoid, without overflow: log(1 + exp(raw)) - target * raw.
        value = weights @ (np.logaddexp(0, raw) - targets * raw)
        return float(value) / len(raw), np.array([residuals @ logits, residuals.sum()]) / len(raw)

    bounds = [_SLOPES, (None, None)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-12)
    return np.asarray(found.x)


def _fit_curve(probabilities: Floats, positive: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the centres of the blocks of an isotonic regression, between which the curve is straight.

    This is centred isotonic regression (Oron & Flournoy 2017). Steps, as isotonic regression gives them, would tie
    all rows of a block, and the last bit of a sum would decide on which side of a step a row is.
    """
    # With n rows, no frequency is known to be nearer to 0 or 1 than this (Laplace's rule of succession).
    least = 1 / (len(probabilities) + 2)
    model = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    fitted = model.fit(probabilities, positive.astype(np.float64), weights).predict(probabilities)
    levels, blocks = np.unique(np.round(fitted, _DIGITS), return_inverse=True)  # a level's last bits differ
    centres = np.bincount(blocks, weights * probabilities) / np.bincount(blocks, weights)
    return centres, levels


def _fit_temperature(probabilities: Floats, y_true: Codes, weights: Floats) -> Temperature:
    """Return the temperature of the least log loss; the targets are a little inside 0 and 1, as for a sigmoid."""
    rows, classes = probabilities.shape
    logs = np.log(squeeze(probabilities, rows, classes))
    targets = squeeze(np.eye(classes)[y_true], rows, classes) * weights[:, None]

    def loss(log: float) -> float:
        return float(-np.sum(targets * log_softmax(logs / np.exp(log), axis=1)) / rows)

    found = minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded", options={"xatol": 1e-9})
    return Temperature(float(np.exp(found.x)), rows)
