"""metrics.json: each figure is scikit-learn's own, and its interval is of the same statistic."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning

from service.contract import BooleanFeature, Contract, Label
from stages.scores import intervals as _intervals
from stages.scores import metrics as _metrics
from stages.scores.metrics import Classified, Predicted
from stages.scores.units import Units

Labels = npt.NDArray[Any]
FEATURE = BooleanFeature(name="a", nullable=False, bin_shares=(0.5, 0.5, 0.0))
CLASSES: dict[int, tuple[Label, ...]] = {2: ("late", "on_time"), 3: (1, 2, 3)}


def contract(size: int, positive: int = 0) -> Contract:
    classes = CLASSES[size]
    task: Any = "binary" if size == 2 else "multiclass"
    return Contract(
        task=task,
        target="y",
        classes=classes,
        positive=classes[positive] if size == 2 else None,
        features=(FEATURE,),
    )


def said(size: int, rows: int = 80, seed: int = 0, ties: int = 20) -> tuple[Labels, npt.NDArray[np.float32], Labels]:
    """Give labels, probabilities with ties, and predicted labels."""
    rng = np.random.default_rng(seed)
    classes = np.array(CLASSES[size], dtype=object)
    raw = rng.integers(0, ties, (rows, size)) + 1.0
    probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    return classes[rng.integers(0, size, rows)], probabilities, classes[probabilities.argmax(axis=1)]


def outcome(size: int, positive: int = 0, **options: int) -> Classified:
    y_true, probabilities, y_pred = said(size, **options)
    return _metrics.classified(contract(size, positive), y_true, probabilities, list(y_pred))


def intervals(scored: Classified | Predicted) -> dict[str, float]:
    return _intervals.intervals(scored, Units("row", np.arange(len(scored.y_true))), 0)


def expected(
    size: int, positive: int, weights: npt.NDArray[np.float64] | None = None, **options: int
) -> dict[str, float]:
    """Give every figure by scikit-learn's own function on the labels themselves."""
    y_true, probabilities, y_pred = said(size, **options)
    classes = list(CLASSES[size])
    double = probabilities.astype(np.float64)
    double /= double.sum(axis=1, keepdims=True)
    texts, guesses, names = y_true.astype(str), y_pred.astype(str), [str(name) for name in classes]
    found = {
        "accuracy": metrics.accuracy_score(texts, guesses, sample_weight=weights),
        "balanced_accuracy": metrics.balanced_accuracy_score(texts, guesses, sample_weight=weights),
        "f1_macro": metrics.f1_score(texts, guesses, average="macro", sample_weight=weights),
        "log_loss": metrics.log_loss(texts, double, labels=names, sample_weight=weights),
    }
    if size == 2:
        one = (texts == names[positive], double[:, positive])
        ranked = {"roc_auc": metrics.roc_auc_score, "average_precision": metrics.average_precision_score}
        brier = metrics.brier_score_loss(*one, sample_weight=weights)
        of_one = {"pos_label": names[positive], "sample_weight": weights}
        found["recall"] = metrics.recall_score(texts, guesses, **of_one)
        if (guesses == names[positive]).any():
            found["precision"] = metrics.precision_score(texts, guesses, **of_one)
    else:
        # scikit-learn takes no weights of zero classes here; one against the rest, averaged, is its definition.
        one = (texts, double)
        ranked = {
            "roc_auc": _one_vs_rest(metrics.roc_auc_score),
            "average_precision": _one_vs_rest(metrics.average_precision_score),
        }
        brier = metrics.brier_score_loss(texts, double, labels=names, sample_weight=weights)
    return found | {"brier_score": brier} | {name: each(*one, sample_weight=weights) for name, each in ranked.items()}


def _one_vs_rest(of: Callable[..., float]) -> Callable[..., float]:
    def average(texts: Labels, double: Labels, sample_weight: Any) -> float:
        names = [str(name) for name in CLASSES[double.shape[1]]]
        parts = [of(texts == name, double[:, place], sample_weight=sample_weight) for place, name in enumerate(names)]
        return float(np.mean(parts))

    return average


@pytest.mark.parametrize(("size", "positive"), [(2, 0), (2, 1), (3, 0)])
def test_every_figure_of_a_classifier_is_scikit_learns(size: int, positive: int) -> None:
    assert _metrics.score(outcome(size, positive)) == pytest.approx(expected(size, positive), rel=1e-12)


def test_the_area_of_several_classes_is_scikit_learns_one_against_the_rest() -> None:
    y_true, probabilities, _ = said(3)
    double = probabilities.astype(np.float64)
    double /= double.sum(axis=1, keepdims=True)
    theirs = metrics.roc_auc_score(y_true.astype(int), double, multi_class="ovr")
    assert _metrics.score(outcome(3))["roc_auc"] == pytest.approx(theirs, rel=1e-12)


def test_every_figure_of_a_regression_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(1e6, 1, 50), rng.normal(1e6, 1, 50)
    assert _metrics.score(Predicted(y_true, y_pred)) == {
        "r2": metrics.r2_score(y_true, y_pred),
        "mean_absolute_error": metrics.mean_absolute_error(y_true, y_pred),
        "root_mean_squared_error": metrics.root_mean_squared_error(y_true, y_pred),
    }


@pytest.mark.parametrize(("size", "positive"), [(2, 0), (2, 1), (3, 0)])
@given(seed=st.integers(0, 10_000), ties=st.integers(1, 40))
def test_a_drawing_scores_as_scikit_learn_with_weights(size: int, positive: int, seed: int, ties: int) -> None:
    scored = outcome(size, positive, seed=seed, ties=ties)
    weights = np.random.default_rng(seed).integers(0, 4, 80).astype(np.float64)
    drawn = _intervals.weighted(scored)(weights) | _intervals.weighted_ranking(scored)(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true", UserWarning)
        assert drawn == pytest.approx(expected(size, positive, weights, seed=seed, ties=ties), rel=1e-9)


@given(seed=st.integers(0, 10_000), offset=st.sampled_from([0.0, 1e6, -1e8]))
def test_a_drawing_of_values_scores_as_scikit_learn_with_weights(seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    y_true = rng.normal(size=40) + offset
    y_pred = y_true + rng.normal(size=40)
    weights = rng.integers(0, 4, 40).astype(np.float64)
    drawn = _intervals.weighted(Predicted(y_true, y_pred))(weights)
    assert drawn == pytest.approx(
        {
            "r2": metrics.r2_score(y_true, y_pred, sample_weight=weights),
            "mean_absolute_error": metrics.mean_absolute_error(y_true, y_pred, sample_weight=weights),
            "root_mean_squared_error": metrics.root_mean_squared_error(y_true, y_pred, sample_weight=weights),
        },
        rel=1e-7,
    )


def test_intervals_hold_the_figure_and_narrow_with_more_rows() -> None:
    few, many = outcome(2, rows=100), outcome(2, rows=10_000)
    wide, narrow = intervals(few), intervals(many)
    for name, value in _metrics.score(many).items():
        assert narrow[f"{name}_low"] <= value <= narrow[f"{name}_high"]
    assert narrow["roc_auc_high"] - narrow["roc_auc_low"] < (wide["roc_auc_high"] - wide["roc_auc_low"]) / 4


def test_intervals_are_the_same_for_the_same_seed() -> None:
    assert intervals(outcome(3)) == intervals(outcome(3))


def test_test_rows_of_one_class_have_no_area_but_the_other_figures() -> None:
    probabilities = np.full((30, 2), 0.5, np.float32)
    scored = _metrics.classified(contract(2), np.array(["late"] * 30, dtype=object), probabilities, ["late"] * 30)
    found = _metrics.score(scored) | intervals(scored)
    assert "roc_auc" not in found
    assert "roc_auc_low" not in found
    assert found["accuracy"] == found["accuracy_high"] == 1.0


def test_a_label_that_training_did_not_know_counts_as_wrong_with_probability_zero() -> None:
    y_true = np.array([1, 2, 3, 9], dtype=object)
    scored = _metrics.classified(contract(3), y_true, np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], [1, 2, 3, 1])
    found = _metrics.score(scored)
    assert scored.labels == (1, 2, 3, 9)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    assert found["brier_score"] == 0.5
    assert found["log_loss"] == pytest.approx(-np.log(np.finfo(float).eps) / 4)


def test_a_single_row_of_a_regression_has_no_r2() -> None:
    assert "r2" not in _metrics.score(Predicted(np.ones(1), np.ones(1)))


def test_constant_values_that_are_predicted_exactly_are_perfect() -> None:
    found = _metrics.score(Predicted(np.ones(6), np.ones(6)))
    assert (found["r2"], found["mean_absolute_error"]) == (1.0, 0.0)


def test_values_near_the_end_of_float32_are_scored_without_overflow() -> None:
    y_true = np.array([3e38, -3e38, 1e38, 0.0] * 5)
    found = _metrics.score(Predicted(y_true, -y_true)) | intervals(Predicted(y_true, -y_true))
    assert np.isfinite(list(found.values())).all()


def test_figures_keep_ten_digits_whatever_the_targets_unit() -> None:
    found = {"mean_absolute_error": 1.23456789012345e-12, "baseline_root_mean_squared_error": 123456789.0123456}
    assert _metrics.rounded(found) == {
        "baseline_root_mean_squared_error": 123456789.0,
        "mean_absolute_error": 1.234567890e-12,
    }


def test_a_rounding_error_about_zero_is_zero_and_what_is_not_finite_is_left_out() -> None:
    assert _metrics.rounded({"r2": -2.2e-16, "log_loss": float("nan")}) == {"r2": 0.0}
