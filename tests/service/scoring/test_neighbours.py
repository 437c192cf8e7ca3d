"""Rows in another order: the same answers, in the callers' order."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.inputs.rows import Encoded
from service.instruments.registry import Instruments
from service.scoring import artifact
from service.scoring.neighbours import FEW_ROWS, Neighbours
from service.scoring.serving import Served
from tests.service.artifacts import written


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Give a model that looks at the first of its two columns alone."""
    folder = tmp_path_factory.mktemp("served")
    settings = written(folder).settings()
    return Served(artifact.load(settings), Instruments(settings))


def neighbours(columns: int) -> Neighbours:
    drawn = np.random.default_rng(0).random((64, columns), dtype=np.float32)
    return Neighbours(drawn, drawn[:, 0])


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 50), st.integers(1, 5)), elements=st.floats(width=32)))
def test_every_row_has_one_place_in_the_order(matrix: Any) -> None:
    assert sorted(neighbours(matrix.shape[1]).order(matrix)) == list(range(len(matrix)))


def test_rows_are_ordered_by_the_columns_that_scores_depend_on_most() -> None:
    drawn = np.random.default_rng(0).random((512, 6), dtype=np.float32)
    scores = drawn[:, 4] + 0.5 * (drawn[:, 1] > 0.5) + 0.3 * np.abs(drawn[:, 2] - 0.5)
    assert Neighbours(drawn, scores.astype(np.float32)).columns.tolist() == [4, 1, 2]


def test_neighbours_are_alike_in_the_most_important_column() -> None:
    matrix = np.random.default_rng(1).random((400, 1), dtype=np.float32)
    ordered = matrix[neighbours(1).order(matrix), 0]
    for quarter in range(4):
        part = ordered[quarter * 100 : (quarter + 1) * 100]
        np.testing.assert_array_equal(np.sort(part), np.sort(matrix[:, 0])[quarter * 100 : (quarter + 1) * 100])


@pytest.mark.parametrize("rows", [FEW_ROWS - 1, FEW_ROWS, 1000])
def test_scores_come_in_the_order_of_their_rows(served: Served, rows: int) -> None:
    numbers = np.random.default_rng(2).random((rows, 2), dtype=np.float32)
    scored = served.score(Encoded(numbers, outside=False))
    np.testing.assert_array_equal(scored.scores, served.model.scores(numbers))
    assert scored.labels == ["yes" if first > 0.5 else "no" for first, _ in numbers.tolist()]
