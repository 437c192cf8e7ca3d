"""metrics.json: each metric is scikit-learn's own, under any weights of the rows."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning

from service.contract import BooleanFeature, Contract, Label
from stages.scores.metrics import Classified, Predicted, classified, main_score, rounded, score, statistics

Floats = npt.NDArray[np.float64]
FEATURE = BooleanFeature(name="a", nullable=False, bin_shares=(0.5, 0.5, 0.0))
CLASSES: dict[int, tuple[Label, ...]] = {2: ("late", "on_time"), 3: (1, 2, 3)}


def contract(size: int, positive: int = 0) -> Contract:
    classes = CLASSES[size]
    task: Any = "binary" if size == 2 else "multiclass"
    chosen = classes[positive] if size == 2 else None
    return Contract(task=task, target="y", classes=classes, positive=chosen, features=(FEATURE,))


def draw(size: int, positive: int, seed: int, ties: int) -> Classified:
    """Return 80 rows of labels and of probabilities with ties."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, ties, (80, size)) + 1.0
    probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    names = np.array(CLASSES[size], dtype=object)
    guesses = names[probabilities.argmax(axis=1)].tolist()
    return classified(contract(size, positive), names[rng.integers(0, size, 80)], probabilities, guesses)


def expected(of: Classified, weights: Floats) -> dict[str, float]:
    """Return every metric, computed by scikit-learn."""
    true, guess, shares = of.y_true, of.y_pred, of.probabilities
    labels = list(range(len(of.labels)))
    found = {
        "accuracy": metrics.accuracy_score(true, guess, sample_weight=weights),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, guess, sample_weight=weights),
        "f1_macro": metrics.f1_score(true, guess, average="macro", sample_weight=weights),
        "log_loss": metrics.log_loss(true, shares, labels=labels, sample_weight=weights),
    }
    for name, of_one in (("roc_auc", metrics.roc_auc_score), ("average_precision", metrics.average_precision_score)):
        parts = [of_one(true == place, shares[:, place], sample_weight=weights) for place in of.ranked]
        found[name] = float(np.mean(parts))
    if of.positive is None:
        return found | {"brier_score": metrics.brier_score_loss(true, shares, labels=labels, sample_weight=weights)}
    one: dict[str, Any] = {"pos_label": of.positive, "sample_weight": weights}
    found["recall"] = metrics.recall_score(true, guess, **one)
    if (guess == of.positive)[weights > 0].any():
        found["precision"] = metrics.precision_score(true, guess, **one)
    return found | {"brier_score": metrics.brier_score_loss(true, shares[:, of.positive], **one)}


@pytest.mark.parametrize(("size", "positive"), [(2, 0), (2, 1), (3, 0)])
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), ties=st.integers(1, 40))
def test_every_metric_of_weighted_classes_is_scikit_learns(size: int, positive: int, seed: int, ties: int) -> None:
    outcome = draw(size, positive, seed, ties)
    weights = np.random.default_rng(seed).integers(0, 4, 80).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true", UserWarning)

        assert statistics(outcome)(weights) == pytest.approx(expected(outcome, weights), rel=1e-9)
        assert score(outcome) == pytest.approx(expected(outcome, np.ones(80)), rel=1e-12)


@given(seed=st.integers(0, 10_000), offset=st.sampled_from([0.0, 1e6, -1e8]))
def test_every_metric_of_weighted_values_is_scikit_learns(seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    y_true = rng.normal(size=40) + offset
    y_pred = y_true + rng.normal(size=40)
    weights = rng.integers(0, 4, 40).astype(np.float64)

    assert statistics(Predicted(y_true, y_pred))(weights) == pytest.approx(
        {
            "r2": metrics.r2_score(y_true, y_pred, sample_weight=weights),
            "mean_absolute_error": metrics.mean_absolute_error(y_true, y_pred, sample_weight=weights),
            "root_mean_squared_error": metrics.root_mean_squared_error(y_true, y_pred, sample_weight=weights),
        },
        rel=1e-7,
    )


def test_the_area_of_several_classes_is_scikit_learns_one_against_the_rest() -> None:
    outcome = draw(3, 0, 0, 20)

    theirs = metrics.roc_auc_score(outcome.y_true, outcome.probabilities, multi_class="ovr")

    assert main_score(outcome) == pytest.approx(theirs, rel=1e-12)


def test_rows_of_one_class_have_no_area_but_the_other_metrics() -> None:
    outcome = Classified(("late", "on_time"), 0, np.zeros(30, int), np.full((30, 2), 0.5), np.zeros(30, int))

    assert main_score(outcome) is None
    assert "roc_auc" not in score(outcome)
    assert score(outcome)["accuracy"] == 1.0


def test_a_label_that_training_did_not_know_counts_as_wrong_with_probability_zero() -> None:
    y_true = np.array([1, 2, 3, 9], dtype=object)
    outcome = classified(contract(3), y_true, np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], [1, 2, 3, 1])

    found = score(outcome)

    assert outcome.labels == (1, 2, 3, 9)
    assert found["accuracy"] == found["balanced_accuracy"] == 0.75
    assert found["brier_score"] == 0.5
    assert found["log_loss"] == pytest.approx(-np.log(np.finfo(float).eps) / 4)


def test_a_constant_target_has_errors_but_no_r2() -> None:
    assert score(Predicted(np.ones(6), np.ones(6))) == {"mean_absolute_error": 0.0, "root_mean_squared_error": 0.0}


def test_values_near_the_end_of_float32_are_scored_without_overflow() -> None:
    y_true = np.array([3e38, -3e38, 1e38, 0.0] * 5)

    assert np.isfinite(list(score(Predicted(y_true, -y_true)).values())).all()


def test_metrics_keep_ten_digits_whatever_the_targets_unit() -> None:
    found = {"mean_absolute_error": 1.23456789012345e-12, "baseline_root_mean_squared_error": 123456789.0123456}
    near_zero = {"r2": -2.2e-16, "log_loss": float("nan")}

    assert rounded(found | near_zero) == {
        "baseline_root_mean_squared_error": 123456789.0,
        "mean_absolute_error": 1.234567890e-12,
        "r2": 0.0,
    }
