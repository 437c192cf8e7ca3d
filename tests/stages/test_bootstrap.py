"""Confidence intervals: the weighted statistics are scikit-learn's, and any rows at all have them or go without."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics

from stages import _bootstrap, _metrics
from stages._metrics import Classified, Predicted

Floats = npt.NDArray[np.float64]
ROWS = 24
WEIGHTS = arrays.arrays(np.float64, ROWS, elements=st.integers(0, 5).map(float))
# From a grid, so that equal scores are common.
SHARES = arrays.arrays(np.float64, ROWS, elements=st.integers(0, 8).map(lambda eighths: eighths / 8))
FLAGS = arrays.arrays(np.bool_, ROWS)
VALUES = arrays.arrays(np.float64, ROWS, elements=st.floats(-1e6, 1e6).map(lambda value: round(value, 3)))


def binary(scores: Floats, positive: npt.NDArray[np.bool_], threshold: float = 0.5) -> Classified:
    """Give an outcome whose positive class has place 0."""
    probabilities = np.stack([scores, 1 - scores], axis=1)
    return Classified(("yes", "no"), 0, np.where(positive, 0, 1), probabilities, np.where(scores > threshold, 0, 1))


def several(rows: int = 60, classes: int = 3, seed: int = 0) -> Classified:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), rows)
    return Classified(
        tuple(range(classes)), None, rng.integers(0, classes, rows), probabilities, probabilities.argmax(axis=1)
    )


@given(scores=SHARES, positive=FLAGS, weights=WEIGHTS)
def test_the_ranking_of_any_weighted_rows_is_scikit_learns(
    scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats
) -> None:
    found = _bootstrap.weighted_ranking(binary(scores, positive))(weights)
    with_weight = positive[weights > 0]
    expected = {}
    if with_weight.any():
        expected["average_precision"] = metrics.average_precision_score(positive, scores, sample_weight=weights)
        if not with_weight.all():
            expected["roc_auc"] = metrics.roc_auc_score(positive, scores, sample_weight=weights)
    assert found == pytest.approx(expected, abs=1e-12)


@given(scores=SHARES, positive=FLAGS, weights=WEIGHTS.filter(np.any))
def test_what_needs_no_ranking_is_scikit_learns_on_any_weighted_rows(
    scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats
) -> None:
    outcome = binary(scores, positive)
    found = _bootstrap.weighted(outcome)(weights)
    truth, said = outcome.y_true, outcome.y_pred
    drawn = np.unique(truth[weights > 0])
    options: dict[str, Any] = {"average": "macro", "sample_weight": weights, "zero_division": 0}
    both = np.union1d(drawn, said[weights > 0])
    assert found == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(truth, said, sample_weight=weights),
            "balanced_accuracy": metrics.recall_score(truth, said, labels=drawn, **options),
            "f1_macro": metrics.f1_score(truth, said, labels=both, **options),
            "log_loss": metrics.log_loss(truth, outcome.probabilities, labels=[0, 1], sample_weight=weights),
            "brier_score": metrics.brier_score_loss(positive, scores, sample_weight=weights, labels=[False, True]),
        },
        abs=1e-12,
    )


@given(truth=VALUES, said=VALUES, weights=WEIGHTS.filter(lambda weights: np.count_nonzero(weights) > 1))
def test_errors_of_any_weighted_values_are_scikit_learns(truth: Floats, said: Floats, weights: Floats) -> None:
    found = _bootstrap.weighted(Predicted(truth, said))(weights)
    options = {"sample_weight": weights}
    assert found["mean_absolute_error"] == pytest.approx(metrics.mean_absolute_error(truth, said, **options))
    assert found["root_mean_squared_error"] == pytest.approx(metrics.root_mean_squared_error(truth, said, **options))
    if np.average((truth - np.average(truth, weights=weights)) ** 2, weights=weights) > 1:
        assert found["r2"] == pytest.approx(metrics.r2_score(truth, said, **options), rel=1e-6)


@given(scores=SHARES, positive=FLAGS)
def test_a_drawing_of_every_row_once_is_the_figure_itself(scores: Floats, positive: npt.NDArray[np.bool_]) -> None:
    outcome = binary(scores, positive)
    once = np.ones(ROWS)
    drawn = _bootstrap.weighted(outcome)(once) | _bootstrap.weighted_ranking(outcome)(once)
    assert drawn == pytest.approx(_metrics.score(outcome), abs=1e-12)


@given(scores=SHARES, positive=FLAGS)
def test_bounds_are_finite_in_order_and_within_what_the_metric_can_be(
    scores: Floats, positive: npt.NDArray[np.bool_]
) -> None:
    bounds = _bootstrap.intervals(binary(scores, positive), 25, 0)
    for name in (name.removesuffix("_low") for name in bounds if name.endswith("_low")):
        assert 0 <= bounds[f"{name}_low"] <= bounds[f"{name}_high"] < np.inf
        assert name == "log_loss" or bounds[f"{name}_high"] <= 1 + 1e-12


@pytest.mark.parametrize("outcome", [several(), Predicted(np.arange(30.0), np.arange(30.0)[::-1])])
def test_another_seed_draws_other_rows(outcome: Classified | Predicted) -> None:
    assert _bootstrap.intervals(outcome, 30, 1) == _bootstrap.intervals(outcome, 30, 1)
    assert _bootstrap.intervals(outcome, 30, 1) != _bootstrap.intervals(outcome, 30, 2)


def test_drawing_leaves_the_global_generator_alone() -> None:
    np.random.seed(3)  # noqa: NPY002  # the legacy generator is what must not move
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    _bootstrap.intervals(several(), 20, 0)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002


def test_a_95_percent_interval_of_a_share_is_as_wide_as_the_binomial_says() -> None:
    scores = np.tile([0.9, 0.1], 500)
    right = np.random.default_rng(0).random(1000) < 0.8
    outcome = binary(scores, np.where(right, scores > 0.5, scores <= 0.5))
    bounds = _bootstrap.intervals(outcome, 1000, 0)
    width = bounds["accuracy_high"] - bounds["accuracy_low"]
    assert width == pytest.approx(2 * 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 1000), rel=0.1)


def test_perfect_predictions_have_intervals_without_width() -> None:
    positive = np.arange(40) % 2 == 0
    bounds = _bootstrap.intervals(binary(positive.astype(float), positive), 30, 0)
    assert {bounds["roc_auc_low"], bounds["accuracy_low"], bounds["average_precision_low"]} == {1.0}
    assert bounds["brier_score_high"] == 0.0


def test_one_probability_for_every_row_ranks_nothing() -> None:
    bounds = _bootstrap.intervals(binary(np.full(40, 0.3), np.arange(40) % 4 == 0), 30, 0)
    assert bounds["roc_auc_low"] == pytest.approx(0.5) == bounds["roc_auc_high"]


def test_a_single_positive_row_among_six_has_an_interval_of_the_drawings_that_hold_it() -> None:
    bounds = _bootstrap.intervals(binary(np.linspace(0.1, 0.9, 6), np.arange(6) == 5), 100, 0)
    assert bounds["roc_auc_low"] == bounds["roc_auc_high"] == 1.0


def test_a_metric_that_few_drawings_define_has_no_interval() -> None:
    bounds = _bootstrap.intervals(binary(np.array([0.2]), np.array([True])), 19, 0)
    assert bounds == {}


def test_a_constant_target_has_errors_but_no_r2_in_any_drawing() -> None:
    bounds = _bootstrap.intervals(Predicted(np.full(6, 7.0), np.arange(6.0)), 30, 0)
    assert {name.rsplit("_", 1)[0] for name in bounds} == {"mean_absolute_error", "root_mean_squared_error"}


def test_values_far_from_zero_keep_their_r2() -> None:
    truth = 1e12 + np.arange(50.0)
    bounds = _bootstrap.intervals(Predicted(truth, truth + np.tile([1.0, -1.0], 25)), 50, 0)
    assert 0.99 < bounds["r2_low"] <= bounds["r2_high"] < 1


def test_a_label_that_training_did_not_know_takes_part_in_every_drawing() -> None:
    known = several(classes=2)
    padded = np.pad(known.probabilities, ((0, 0), (0, 1)))
    stranger = np.where(np.arange(60) % 5 == 0, 2, known.y_true)
    bounds = _bootstrap.intervals(Classified((0, 1, 9), None, stranger, padded, known.y_pred), 40, 0)
    assert np.isfinite(list(bounds.values())).all()
    assert bounds["log_loss_low"] > 1  # the stranger's rows have probability 0
