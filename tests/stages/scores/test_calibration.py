"""The expected calibration error is what its definition says, and by chance what simulation says."""

import numpy as np
import pytest

from stages.scores.calibration import calibration_metrics
from stages.scores.metrics import Classified
from stages.scores.units import Units


def binary(second: np.ndarray, y_true: np.ndarray) -> Classified:
    return Classified(("no", "yes"), 1, y_true, np.stack([1 - second, second], axis=1), (second > 0.5).astype(int))


def alone(rows: int) -> Units:
    return Units("row", np.arange(rows))


def test_the_error_is_the_mean_distance_from_the_frequencies() -> None:
    second = np.repeat([0.2, 0.6], [50, 150])
    y_true = np.concatenate([np.arange(50) < 20, np.arange(150) < 75]).astype(int)
    found = calibration_metrics(binary(second, y_true), alone(200))
    assert found["expected_calibration_error"] == pytest.approx(0.25 * abs(0.4 - 0.2) + 0.75 * abs(0.5 - 0.6))


def test_with_more_classes_it_is_that_of_the_most_probable_one() -> None:
    probabilities = np.tile([0.5, 0.3, 0.2], (100, 1))
    y_true = np.repeat([0, 1, 2], [70, 20, 10])
    outcome = Classified(("a", "b", "c"), None, y_true, probabilities, np.zeros(100, int))
    assert calibration_metrics(outcome, alone(100))["expected_calibration_error"] == pytest.approx(0.2)


@pytest.mark.parametrize("size", [1, 20])
def test_by_chance_is_the_error_of_a_perfect_model(size: int) -> None:
    """Rows of one unit of 20 have one outcome: they count as one."""
    rng = np.random.default_rng(0)
    errors, expected = [], []
    for _ in range(100):
        second = np.repeat(rng.beta(2, 3, 4000 // size), size)
        y_true = (np.repeat(rng.random(4000 // size), size) < second).astype(int)
        found = calibration_metrics(binary(second, y_true), Units("group", np.arange(4000) // size))
        errors.append(found["expected_calibration_error"])
        expected.append(found["expected_calibration_error_by_chance"])
    assert np.mean(expected) == pytest.approx(np.mean(errors), rel=0.1)


def test_too_few_units_give_no_error_by_chance() -> None:
    second = np.full(100, 0.5)
    found = calibration_metrics(binary(second, np.arange(100) % 2), Units("group", np.arange(100) // 20))
    assert set(found) == {"expected_calibration_error"}
