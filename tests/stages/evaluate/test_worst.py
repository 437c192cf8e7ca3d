"""The rows that a model got most wrong, for the report."""

import numpy as np
import pandas as pd

from stages.evaluate.worst import find_worst
from stages.scores.metrics import Classified, Predicted

ROWS = pd.DataFrame(
    {
        "size": [1.5, np.nan, 3.123456, 4.0],
        "city": ["=1+1", "Rome", None, "007"],
        "when": pd.to_datetime(["2020-01-01"] * 4),
        "y": 0,
    }
)


def test_of_classes_the_least_probable_truth_comes_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.75, 0.25], [0.01, 0.99]])
    outcome = Classified(("no", "yes"), 1, np.array([1, 1, 1, 0]), probabilities, np.array([0, 1, 0, 1]))

    assert find_worst(outcome, ROWS, ["city", "size"], 3).to_numpy().tolist() == [
        ["4", "no", "yes", "0.01", "007", "4"],
        ["1", "yes", "no", "0.1", "=1+1", "1.5"],
        ["3", "yes", "no", "0.25", "", "3.123456"],
    ]


def test_of_numbers_the_largest_residual_comes_first() -> None:
    outcome = Predicted(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 12.0, 3.5, -20.0]))

    assert find_worst(outcome, ROWS, ["when"], 2).to_numpy().tolist() == [
        ["4", "4", "-20", "24", "2020-01-01 00:00:00"],
        ["2", "2", "12", "-10", "2020-01-01 00:00:00"],
    ]


def test_large_numbers_show_the_digits_in_which_they_differ() -> None:
    outcome = Predicted(np.array([125_700.0, 0.1, 1e17]), np.array([125_701.0, 0.12345678, 1e17]))
    rows = ROWS.head(3).assign(size=[1234567.0, 20_250_101.0, 1e30])

    assert find_worst(outcome, rows, ["size"], 3).to_numpy().tolist() == [
        ["1", "125700", "125701", "-1", "1234567"],
        ["2", "0.1", "0.1234568", "-0.02345678", "20250101"],
        ["3", "1e+17", "1e+17", "0", "1e+30"],
    ]


def test_a_feature_keeps_its_name_beside_a_column_of_the_same_name() -> None:
    outcome = Predicted(np.zeros(4), np.arange(4.0))
    features = ["row", "row_", "actual", "predicted", "residual"]

    found = find_worst(outcome, ROWS.assign(**dict.fromkeys(features, "x")), features, 1)

    assert [*found] == ["row__", "actual_", "predicted_", "residual_", *features]
