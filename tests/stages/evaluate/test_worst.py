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
        ["3", "yes", "no", "0.25", "", "3.123"],
    ]


def test_of_numbers_the_largest_residual_comes_first() -> None:
    outcome = Predicted(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 12.0, 3.5, -20.0]))

    assert find_worst(outcome, ROWS, ["when"], 2).to_numpy().tolist() == [
        ["4", "4", "-20", "24", "2020-01-01 00:00:00"],
        ["2", "2", "12", "-10", "2020-01-01 00:00:00"],
    ]
