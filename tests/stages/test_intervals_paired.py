"""The main metric under weights, and the interval of a difference between two models."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from stages.scores import intervals
from stages.scores.metrics import Classified, Predicted
from stages.scores.units import Units

ROWS = 40
ROWS_AS_UNITS = Units("row", np.arange(ROWS))
BINARY = np.arange(ROWS) % 3 % 2


def binary(y_true: Any, scores: Any) -> Classified:
    return Classified(("no", "yes"), 1, y_true, np.stack([1 - scores, scores], axis=1), (scores > 0.5).astype(int))


def test_the_main_metric_of_classes_is_the_area_and_of_numbers_r2() -> None:
    scores = np.linspace(0, 1, ROWS)

    assert intervals.weighted_main(binary(BINARY, scores))(np.ones(ROWS)) == pytest.approx(
        metrics.roc_auc_score(BINARY, scores)
    )
    assert intervals.weighted_main(Predicted(scores, scores))(np.ones(ROWS)) == 1


def test_one_class_has_no_main_metric() -> None:
    outcome = binary(np.zeros(ROWS, dtype=int), np.linspace(0, 1, ROWS))

    assert intervals.weighted_main(outcome)(np.ones(ROWS)) is None


def test_the_difference_of_a_model_from_itself_is_nothing() -> None:
    outcome = binary(BINARY, np.linspace(0, 1, ROWS))

    assert intervals.paired_interval(outcome, outcome, ROWS_AS_UNITS, seed=0) == (0, 0)


def test_a_difference_that_the_rows_do_not_define_has_no_interval() -> None:
    outcome = binary(np.zeros(ROWS, dtype=int), np.linspace(0, 1, ROWS))

    assert np.isnan(intervals.paired_interval(outcome, outcome, ROWS_AS_UNITS, seed=0)).all()


def test_few_units_have_no_interval_of_a_difference() -> None:
    outcome, few = binary(BINARY, np.linspace(0, 1, ROWS)), Units("group", np.arange(ROWS) % 19)

    assert np.isnan(intervals.paired_interval(outcome, outcome, few, seed=0)).all()
