"""The main metric under weights, and the interval of a difference between two models."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from stages import _bootstrap
from stages._metrics import Classified, Predicted

ROWS = 40
BINARY = np.arange(ROWS) % 3 % 2


def binary(y_true: Any, scores: Any) -> Classified:
    return Classified(("no", "yes"), 1, y_true, np.stack([1 - scores, scores], axis=1), (scores > 0.5).astype(int))


def test_the_main_metric_of_classes_is_the_area_and_of_numbers_r2() -> None:
    scores = np.linspace(0, 1, ROWS)

    assert _bootstrap.weighted_main(binary(BINARY, scores))(np.ones(ROWS)) == pytest.approx(
        metrics.roc_auc_score(BINARY, scores)
    )
    assert _bootstrap.weighted_main(Predicted(scores, scores))(np.ones(ROWS)) == 1


def test_one_class_has_no_main_metric() -> None:
    outcome = binary(np.zeros(ROWS, dtype=int), np.linspace(0, 1, ROWS))

    assert _bootstrap.weighted_main(outcome)(np.ones(ROWS)) is None


def test_the_difference_of_a_model_from_itself_is_nothing() -> None:
    outcome = binary(BINARY, np.linspace(0, 1, ROWS))

    assert _bootstrap.paired_interval(outcome, outcome, resamples=20, seed=0) == (0, 0)


def test_a_difference_that_no_drawing_defines_has_no_interval() -> None:
    outcome = binary(np.zeros(ROWS, dtype=int), np.linspace(0, 1, ROWS))

    assert np.isnan(_bootstrap.paired_interval(outcome, outcome, resamples=20, seed=0)).all()
