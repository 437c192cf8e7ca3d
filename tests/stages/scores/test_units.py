"""What counts as one independent observation follows from the split."""

import numpy as np
import pandas as pd
import pytest

from stages.schema import Split
from stages.scores.units import Units, lag_correlation, units_of

TIME = Split(method="time", column="t")


def of_time(values: object) -> Units:
    return units_of(TIME, pd.DataFrame({"t": values}))


@pytest.mark.parametrize(
    ("periods", "freq", "name", "count"),
    [
        (31 * 24, "h", "day", 31),
        (29 * 24, "h", "hour", 696),
        (35 * 7, "D", "week", 36),
        (40, "MS", "month", 40),
        (25, "D", "day", 25),
        (40, "min", "month", 1),
    ],
)
def test_by_time_it_is_the_coarsest_that_gives_30_or_else_the_most(
    periods: int, freq: str, name: str, count: int
) -> None:
    found = of_time(pd.date_range("2020-01-01", periods=periods, freq=freq))
    assert (found.name, found.count) == (name, count)


def test_text_dates_with_zones_count_as_moments() -> None:
    text = pd.date_range("2020-01-01", periods=40, freq="D", tz="Europe/Berlin").map(lambda moment: moment.isoformat())
    assert of_time(pd.Series(text)).name == "day"
    assert of_time(pd.date_range("2020-01-01", periods=40, freq="D", tz="UTC")).count == 40


def test_by_a_number_they_are_blocks_of_neighbouring_values() -> None:
    found = of_time(np.arange(300)[::-1])
    assert (found.name, found.count) == ("block", 30)
    assert set(np.bincount(found.codes)) == {10}
    assert (np.diff(found.codes) <= 0).all()


def test_equal_numbers_stay_in_one_block() -> None:
    found = of_time(np.repeat(np.arange(12), 100))
    assert found.count == 12
    assert "12 independent blocks" in found.too_few


def test_by_group_it_is_the_group_and_at_random_the_row() -> None:
    rows = pd.DataFrame({"g": [3, 1, 3, 2]})
    assert units_of(Split(method="group", column="g"), rows).codes.tolist() == [2, 0, 2, 1]
    assert units_of(Split(method="random", column=None), rows).count == 4
    assert units_of(Split(method="random", column="g"), rows).name == "key"
    assert units_of(Split(method="random", column="g"), rows.drop_duplicates()).name == "row"


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ([5] * 20, ""),
        ([5] * 19, "the test rows hold 19 independent groups; an interval needs 20"),
        ([1000, *[1] * 40], "a few of the 41 groups hold most test rows: they count as 1.1 of equal size"),
    ],
)
def test_too_few_groups_give_no_interval(sizes: list[int], why: str) -> None:
    assert Units("group", np.repeat(np.arange(len(sizes)), sizes)).too_few[: len(why) or None] == why


def test_likeness_of_neighbours_is_their_correlation() -> None:
    rng = np.random.default_rng(0)
    steps = rng.normal(size=2000)
    likeness = 0.6
    influence = np.zeros(2000)
    for day in range(1, 2000):
        influence[day] = likeness * influence[day - 1] + steps[day]
    days = Units("day", np.arange(2000))

    assert lag_correlation(influence, days) == pytest.approx(likeness, abs=0.05)
    assert lag_correlation(steps, days) == pytest.approx(0, abs=0.05)
    assert lag_correlation(steps, Units("group", np.arange(2000))) is None
