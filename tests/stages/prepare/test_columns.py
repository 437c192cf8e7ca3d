"""Each column becomes a feature of some kind, or is left out for a reason."""

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from service.contract import BooleanFeature, CategoryFeature, DateFeature, NumberFeature
from stages.bins import BINS
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.prepare.columns import MAX_CATEGORIES, find_features

ROWS = 100
RNG = np.random.default_rng(0)

LEFT_OUT = {
    "constant": ([3] * ROWS, "constant: 3"),
    "missing": ([np.nan] * ROWS, "all values are missing"),
    "row": (range(1, ROWS + 1), "identifier: a running number"),
    "with gaps": (sorted(RNG.choice(3 * ROWS, ROWS, replace=False)), "identifier: a running number"),
    "as floats": (np.arange(ROWS, dtype=float), "identifier: a running number"),
    "customer_id": (RNG.permutation(10 * ROWS)[:ROWS], "identifier: whole numbers that differ in every row"),
    "uuid": ([str(uuid.UUID(int=row**5)) for row in range(ROWS)], "identifier: 100 different values in 100 rows"),
    "name": ([f"Smith, John {row}" for row in range(ROWS)], "identifier: 100 different values"),
    "review": ([f"it was a good film {row}" for row in range(ROWS)], "free text: 100 different texts"),
    "comment": ([f"{'so long ' * 9}{row % 60}" for row in range(ROWS)], "free text: long values, 60 different ones"),
}
FEATURES: dict[str, tuple[Any, type]] = {
    "measured": (RNG.normal(size=ROWS), NumberFeature),
    "income": (RNG.permutation(np.arange(ROWS) * 317 + 20_000), NumberFeature),
    "sorted price": (np.sort(RNG.choice(10**6, ROWS, replace=False)), NumberFeature),
    "rank": (RNG.permutation(ROWS), NumberFeature),
    "year": (range(1920, 1920 + ROWS), NumberFeature),
    "customer_id": (np.arange(ROWS) % 50, NumberFeature),
    "known once": ([1.0] + [np.nan] * (ROWS - 1), NumberFeature),
    "flag": ([True, False] * (ROWS // 2), BooleanFeature),
    "class": (["é", "x|y"] * (ROWS // 2), CategoryFeature),
    "long names": ([f"{'a long name ' * 5}{row % 25}" for row in range(ROWS)], CategoryFeature),
    "when": (pd.date_range("2020-01-01", periods=ROWS, freq="7h"), DateFeature),
}


def column(values: Any) -> pd.DataFrame:
    made = pd.Series(values)
    return pd.DataFrame({"x": made.astype("str") if made.dtype == object else made})


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_column_without_information_is_left_out_with_the_reason(name: str) -> None:
    values, expected = LEFT_OUT[name]

    features, left_out = find_features(column(values).rename(columns={"x": name}), {})

    assert features == []
    assert left_out[0].reason.startswith(expected)


@pytest.mark.parametrize("name", FEATURES)
def test_a_column_with_information_is_a_feature(name: str) -> None:
    values, kind = FEATURES[name]

    features, _ = find_features(column(values).rename(columns={"x": name}), {})

    assert [type(feature) for feature in features] == [kind]


def test_the_group_and_the_key_are_no_features(table: pd.DataFrame, params: Callable[..., Params]) -> None:
    rows = table.assign(team=np.arange(200) // 4, number=RNG.permutation(200) / 7)
    split = {"method": "group", "test_size": 0.3, "group_column": "team", "key": "number"}

    _, _, schema = prepare.prepare(rows, params(split=split))

    reasons = {each.name: each.reason for each in schema.left_out}
    assert reasons["team"].startswith("names the group of the split")
    assert reasons["number"] == "identifies the row (split.key)"


HOURS = pd.date_range("2020-01-01", periods=ROWS, freq="31h")
LATER: dict[str, tuple[Any, Any, str]] = {
    "running number": (RNG.permutation(ROWS), range(ROWS, 2 * ROWS), "100% of the later values lie beyond training's"),
    "month": ([*range(1, 9)] * 10, [8, 9, 10, 11, 12], "80% of the later values lie beyond training's 1 to 8"),
    "falling": (np.arange(ROWS) / 7, -np.arange(1.0, 9), "100% of the later values"),
    "year and month": (["2020-01", "2020-02"] * 50, ["2020-03", "2020-04"], "100% of the later values are categories"),
    "the same day": (pd.to_datetime(["2020-01-01", "2020-02-01"] * 50), pd.to_datetime(["2021-03-02"] * 9), "no part"),
}


@pytest.mark.parametrize("name", LATER)
def test_a_column_whose_later_values_training_never_saw_is_left_out(name: str) -> None:
    values, later, expected = LATER[name]

    features, left_out = find_features(column(values), {}, later=column(later))

    assert features == []
    assert left_out[0].reason.startswith(expected)


@pytest.mark.parametrize(
    ("values", "later"),
    [
        ([*range(1, 9)] * 10, [6, 7, 8, 9, 10]),
        (np.arange(ROWS) / 7, [np.nan, 3.0, np.nan, np.nan, 99.0]),
        (["a", "b"] * 50, ["a", "c"]),
        ([True, False] * 50, [True, True]),
        (np.arange(ROWS) / 7, [np.nan]),
    ],
)
def test_a_column_some_of_whose_later_values_training_saw_is_kept(values: Any, later: Any) -> None:
    assert len(find_features(column(values), {}, later=column(later))[0]) == 1


@pytest.mark.parametrize(
    ("later", "parts"),
    [
        (HOURS[-1] + pd.to_timedelta(range(720, 768), unit="h"), ("day", "weekday", "hour")),
        (HOURS + pd.Timedelta(days=366), ("month", "day", "weekday", "hour")),
        (HOURS, ("days", "month", "day", "weekday", "hour")),
    ],
    ids=["another month", "a year later", "the same days"],
)
def test_a_date_keeps_the_parts_that_occur_again(later: pd.DatetimeIndex, parts: tuple[str, ...]) -> None:
    (feature,), _ = find_features(column(HOURS), {}, later=column(later))

    assert isinstance(feature, DateFeature)
    assert feature.parts == parts
    assert bool(feature.bin_edges) == ("days" in parts)
    assert sum(feature.bin_shares) == pytest.approx(1)


@pytest.mark.parametrize(
    "values", [RNG.normal(size=ROWS), [1.0, np.nan] * 50, [0.0] * 90 + [5.0] * 10, [1e30, -1e30] * 50]
)
def test_the_bins_of_a_number_hold_all_rows(values: Any) -> None:
    (feature,), _ = find_features(column(values), {})

    assert isinstance(feature, NumberFeature)
    assert sum(feature.bin_shares) == pytest.approx(1)
    assert len(feature.bin_shares) == len(feature.bin_edges) + 2 <= BINS + 1


@pytest.mark.parametrize(("below", "above"), [(2, 0), (0, 2), (2, 2)])
def test_a_value_that_most_rows_have_gets_its_own_bin(below: int, above: int) -> None:
    values = [*RNG.uniform(0, 4, below), *[5.0] * 96, *RNG.uniform(6, 9, above)]

    (feature,), _ = find_features(column(values), {})

    assert isinstance(feature, NumberFeature)
    assert 96 / len(values) in [pytest.approx(share) for share in feature.bin_shares]


def test_the_thousand_most_frequent_categories_are_kept_in_whatever_order_they_come() -> None:
    names = [f"k{number:04}" for number in range(1500)]
    table = column([*names, *names, *names[500:]])

    (feature,), _ = find_features(table, {})

    assert find_features(table.iloc[::-1], {})[0] == [feature]
    assert isinstance(feature, CategoryFeature)
    assert feature.categories == tuple(names[500:])
    assert len(feature.categories) == MAX_CATEGORIES
    assert feature.unseen_share == pytest.approx(1000 / 4000)
    assert sum(feature.bin_shares) + feature.unseen_share == pytest.approx(1)


def test_categories_are_ordered_by_the_mean_of_a_target_of_numbers() -> None:
    train = pd.DataFrame({"place": ["dear", "cheap", "mean", None] * 12, "y": [9.0, 1.0, 5.0, 5.0] * 12})

    features, _ = find_features(train[["place"]], {}, train["y"])

    assert isinstance(features[0], CategoryFeature)
    assert features[0].categories == ("cheap", "mean", "dear")
    assert features[0].bin_shares == (0.25, 0.25, 0.25, 0.25)


def test_a_category_of_few_rows_is_not_ordered_by_their_target() -> None:
    train = pd.DataFrame({"place": ["a"] * 20 + ["b"] * 20 + ["c"] * 3, "y": [1.0] * 20 + [3.0] * 20 + [99.0] * 3})

    features, _ = find_features(train[["place"]], {}, train["y"].clip(upper=3))
    few, _ = find_features(train[["place"]], {}, train["y"])

    assert [each.categories for each in (*features, *few) if isinstance(each, CategoryFeature)] == [
        ("a", "c", "b"),
        ("a", "b", "c"),
    ]
