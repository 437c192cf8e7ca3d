"""A sample of the training rows depends on the rows and the seed alone, and contains every smaller sample."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.estimators.sample import Sample, read_sample
from stages.params.params import Params

Make = Callable[..., Params]
ROWS = 4_000


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"x": rng.normal(size=ROWS), "few": rng.integers(0, 3, ROWS), "y": rng.choice(["a", "b"], ROWS)}
    )


@pytest.fixture
def draw(params: Make, tmp_path: Path) -> Callable[..., Sample]:
    """Return a function that writes a table and draws a sample of this many rows."""

    def make(table: pd.DataFrame, size: int | None, seed: int = 0) -> Sample:
        table.to_parquet(tmp_path / "train.parquet", index=False)
        return read_sample(tmp_path / "train.parquet", params(train={"sample": size}, random_state=seed))

    return make


Draw = Callable[..., Sample]


def test_a_larger_sample_contains_a_smaller_one(draw: Draw, rows: pd.DataFrame) -> None:
    small, large = draw(rows, 400), draw(rows, 1_000)

    assert len(small.rows) == 400
    assert set(small.places) < set(large.places)
    assert large.places[large.first(0.4)].tolist() == small.places.tolist()


def test_a_sample_is_the_rows_at_its_places_in_their_order(draw: Draw, rows: pd.DataFrame) -> None:
    sample = draw(rows, 400)

    assert (np.diff(sample.places) > 0).all()
    pd.testing.assert_frame_equal(sample.rows, rows.iloc[sample.places].reset_index(drop=True), check_dtype=False)


def test_a_sample_is_spread_over_the_table_and_is_another_one_for_another_seed(draw: Draw, rows: pd.DataFrame) -> None:
    one, other = draw(rows, 1_000), draw(rows, 1_000, seed=1)

    assert 200 < np.count_nonzero(one.places < ROWS // 4) < 300
    assert 200 < len(set(one.places) & set(other.places)) < 300


def test_the_sample_of_a_table_in_another_order_has_the_same_rows(draw: Draw, rows: pd.DataFrame) -> None:
    turned = draw(rows.iloc[::-1].reset_index(drop=True), 400).rows

    assert sorted(turned["x"]) == sorted(draw(rows, 400).rows["x"])


def test_rows_that_are_added_leave_a_share_of_the_sample_as_it_was(draw: Draw, rows: pd.DataFrame) -> None:
    before = draw(rows.head(ROWS // 2), 400)
    after = draw(rows, 800)

    first = set(after.places[after.places < ROWS // 2])
    assert len(first & set(before.places)) > 0.85 * 400


def test_equal_rows_are_not_all_in_or_all_out(draw: Draw, rows: pd.DataFrame) -> None:
    few = rows[["few"]]

    counts = draw(few, 1_000).rows["few"].value_counts()

    assert counts.index.size == 3
    assert counts.between(250, 420).all()


@pytest.mark.parametrize("size", [None, ROWS, ROWS + 1])
def test_all_rows_are_used_if_there_are_no_more(draw: Draw, rows: pd.DataFrame, size: int | None) -> None:
    sample = draw(rows, size)

    assert sample.is_all
    pd.testing.assert_frame_equal(sample.rows, rows, check_dtype=False)
