"""Confidence intervals: any rows at all have one, or go without."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from sklearn import metrics

from stages.partitions.executors import Spread
from stages.scores import intervals as _intervals
from stages.scores.metrics import Classified, Predicted, score
from stages.scores.units import FEWEST, Units

Floats = npt.NDArray[np.float64]
ROWS = 24
# From a grid, so that equal scores are common.
SHARES = arrays.arrays(np.float64, ROWS, elements=st.integers(0, 8).map(lambda eighths: eighths / 8))
FLAGS = arrays.arrays(np.bool_, ROWS)


def binary(scores: Floats, positive: npt.NDArray[np.bool_], threshold: float = 0.5) -> Classified:
    """Return an outcome whose positive class has index 0."""
    probabilities = np.stack([scores, 1 - scores], axis=1)
    return Classified(("yes", "no"), 0, np.where(positive, 0, 1), probabilities, np.where(scores > threshold, 0, 1))


def rows(outcome: Classified | Predicted) -> Units:
    return Units("row", np.arange(len(outcome.y_true)))


def intervals(outcome: Classified | Predicted, seed: int = 0) -> dict[str, float]:
    return _intervals.intervals(outcome, rows(outcome), seed)


def several(rows: int = 60, classes: int = 3, seed: int = 0) -> Classified:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), rows)
    return Classified(
        tuple(range(classes)), None, rng.integers(0, classes, rows), probabilities, probabilities.argmax(axis=1)
    )


@settings(max_examples=30)
@given(scores=SHARES, positive=FLAGS)
def test_bounds_are_about_the_metric_and_within_what_it_can_be(scores: Floats, positive: npt.NDArray[np.bool_]) -> None:
    outcome = binary(scores, positive)
    bounds, found = intervals(outcome), score(outcome)

    for name in (name.removesuffix("_low") for name in bounds if name.endswith("_low")):
        low, high = bounds[f"{name}_low"], bounds[f"{name}_high"]
        assert 0 <= low <= found[name] + 1e-9
        assert found[name] - 1e-9 <= high < np.inf
        assert name == "log_loss" or high <= 1 + 1e-12


def test_leaving_a_unit_out_is_scikit_learn_without_its_rows() -> None:
    outcome = binary(np.random.default_rng(0).random(120), np.random.default_rng(1).random(120) > 0.4)
    groups = np.arange(120) % 24
    value, left_out = _intervals._leave_out(outcome, Units("group", groups), 0, Spread())["roc_auc"]
    positive, scores = outcome.y_true == 0, outcome.probabilities[:, 0]
    assert value == pytest.approx(metrics.roc_auc_score(positive, scores))
    without = [metrics.roc_auc_score(positive[groups != group], scores[groups != group]) for group in range(24)]
    assert left_out == pytest.approx(without)


def test_fewer_units_than_the_fewest_have_no_interval() -> None:
    outcome = several(rows=400)
    for count, has in ((FEWEST, True), (FEWEST - 1, False)):
        assert bool(_intervals.intervals(outcome, Units("group", np.arange(400) % count), 0)) is has


def test_rows_that_say_the_same_count_once() -> None:
    once = several(rows=60)
    again = np.repeat(np.arange(60), 10)
    often = replace(once, y_true=once.y_true[again], probabilities=once.probabilities[again], y_pred=once.y_pred[again])
    by_group = _intervals.intervals(often, Units("group", again), 0)
    assert by_group["accuracy_low"] == pytest.approx(intervals(once)["accuracy_low"])
    assert intervals(often)["accuracy_low"] > by_group["accuracy_low"]


@pytest.mark.parametrize("outcome", [several(rows=400), Predicted(np.arange(400.0), np.arange(400.0)[::-1] ** 2)])
def test_many_units_are_left_out_in_random_blocks(outcome: Classified | Predicted) -> None:
    assert intervals(outcome, 1) == intervals(outcome, 1)
    assert intervals(outcome, 1) != intervals(outcome, 2)


def test_a_95_percent_interval_of_a_share_is_as_wide_as_the_binomials() -> None:
    scores = np.tile([0.9, 0.1], 500)
    right = np.random.default_rng(0).random(1000) < 0.8
    bounds = intervals(binary(scores, np.where(right, scores > 0.5, scores <= 0.5)))
    width = bounds["accuracy_high"] - bounds["accuracy_low"]
    assert width == pytest.approx(2 * 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 1000), rel=0.15)


def test_perfect_predictions_are_as_certain_as_so_many_units_make_them() -> None:
    positive = np.arange(40) % 2 == 0
    bounds = intervals(binary(positive.astype(float), positive))
    for name in ("roc_auc", "accuracy", "average_precision"):
        assert bounds[f"{name}_low"] == pytest.approx(0.025 ** (1 / 40))
        assert bounds[f"{name}_high"] == 1.0
    assert bounds["brier_score_high"] == 0.0


def test_a_metric_that_one_unit_alone_defines_has_no_interval() -> None:
    bounds = intervals(binary(np.linspace(0.1, 0.9, 30), np.arange(30) == 29))
    assert "roc_auc_low" not in bounds
    assert "accuracy_low" in bounds


def test_an_area_that_is_perfect_without_one_unit_keeps_within_one() -> None:
    scores, positive = np.linspace(0, 1, 60), np.arange(60) >= 30
    scores[0] = 0.99
    bounds = intervals(binary(scores, positive))
    assert 0.8 < bounds["roc_auc_low"] < bounds["roc_auc_high"] <= 1


def test_a_constant_target_has_errors_but_no_r2() -> None:
    bounds = intervals(Predicted(np.full(30, 7.0), np.arange(30.0)))
    assert {name.rsplit("_", 1)[0] for name in bounds} == {"mean_absolute_error", "root_mean_squared_error"}


def test_values_far_from_zero_keep_their_r2() -> None:
    truth = 1e12 + np.arange(50.0)
    bounds = intervals(Predicted(truth, truth + np.tile([1.0, -1.0], 25)))
    assert 0.99 < bounds["r2_low"] <= bounds["r2_high"] < 1


def test_many_classes_are_left_out_in_fewer_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_intervals, "_BUDGET", 1)
    _, left_out = _intervals._leave_out(several(rows=400), Units("row", np.arange(400)), 0, Spread())["roc_auc"]
    assert len(left_out) == _intervals._FEWEST_BLOCKS


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.tile([1.0, 3.0], 15)
    left_out = (values.sum() - values) / 29

    found = _intervals.jackknife(float(values.mean()), left_out, _intervals._IDENTITY)

    assert found == pytest.approx(stats.t.interval(0.95, 29, values.mean(), values.std(ddof=1) / np.sqrt(30)))


def test_units_of_which_few_matter_are_worth_fewer() -> None:
    values = np.repeat([1.0, -1.0, 0.001], [2, 2, 36])
    left_out = (values.sum() - values) / 39

    low, high = _intervals.jackknife(float(values.mean()), left_out, _intervals._IDENTITY)

    freedom = 3 * 4**2 / 4
    half = stats.t.ppf(0.975, freedom) * values.std(ddof=1) / np.sqrt(40)
    assert (high - low) / 2 == pytest.approx(half, rel=0.01)


def test_a_model_differs_from_itself_by_nothing() -> None:
    outcome = binary(np.linspace(0, 1, 40), np.arange(40) % 3 == 0)

    assert _intervals.paired_interval(outcome, outcome, rows(outcome), seed=0) == (0, 0)


@pytest.mark.parametrize(("period", "units"), [(1, 40), (3, 19)], ids=["one class", "few units"])
def test_a_difference_that_the_rows_or_units_do_not_allow_has_no_interval(period: int, units: int) -> None:
    outcome = binary(np.linspace(0, 1, 40), np.arange(40) % period == 0)

    assert np.isnan(_intervals.paired_interval(outcome, outcome, Units("group", np.arange(40) % units), seed=0)).all()


@pytest.mark.parametrize("wrong", [0, 1, 2, 26, 27])
def test_the_interval_of_a_share_is_a_share(wrong: int) -> None:
    # Without the only wrong row the share is 1, whose logit is infinite.
    low, high = _intervals.share_interval(np.arange(27) >= wrong, Units("row", np.arange(27)), seed=0)

    assert 0 <= low <= 1 - wrong / 27 <= high <= 1
