"""The typical row: its values fit together, and it is nobody's."""

import numpy as np
import pandas as pd
import pytest

from service.contract import Feature
from stages.prepare.columns import find_features
from stages.prepare.example import FEWEST, build_example


def features_of(rows: pd.DataFrame) -> list[Feature]:
    return find_features(rows.drop(columns="y", errors="ignore"), {})[0]


@pytest.fixture
def routes() -> pd.DataFrame:
    """Return flights of two carriers; the distance follows from the destination, the arrival from the departure."""
    rng = np.random.default_rng(0)
    carrier = rng.choice(["AA", "UA", "UA"], 3_000)
    dest = np.where(carrier == "AA", rng.choice(["MIA", "DFW"], 3_000), rng.choice(["SFO", "IAH", "ORD"], 3_000))
    distance = pd.Series(dest).map({"MIA": 1089, "DFW": 1389, "SFO": 2565, "IAH": 1400, "ORD": 719})
    departure = rng.integers(6, 22, 3_000)
    return pd.DataFrame(
        {
            "departure": departure,
            "arrival": departure + distance // 500,
            "distance": distance,
            "carrier": carrier,
            "dest": dest,
            "temp": rng.normal(60, 15, 3_000).round(1),
            "private": rng.random(3_000) > 0.5,
            "booked": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 500, 3_000), unit="D"),
        }
    )


def test_values_fit_together_as_medians_of_columns_need_not(routes: pd.DataFrame) -> None:
    example = build_example(routes, features_of(routes))

    assert example["carrier"] == "UA"
    assert example["distance"] == {"SFO": 2565, "IAH": 1400, "ORD": 719}[str(example["dest"])]
    assert example["arrival"] == example["departure"] + example["distance"] // 500  # type: ignore[operator]


def test_no_row_of_the_table_is_given_away(routes: pd.DataFrame) -> None:
    example = build_example(routes, features_of(routes))

    same = np.logical_and.reduce([(routes[name].astype(str) == str(value)) for name, value in example.items()])
    assert same.sum() == 0


def test_an_example_that_few_rows_equal_is_replaced() -> None:
    # Whoever is of the most frequent kind, and in the middle of it, is one of nine.
    rows = pd.DataFrame({"a": [0.0] * 9 + [1.0] * 20 + [-1.0] * 20, "b": [0.5] * 9 + [1.0] * 20 + [-1.0] * 20})

    example = build_example(rows, features_of(rows))

    assert ((rows["a"] == example["a"]) & (rows["b"] == example["b"])).sum() not in range(1, FEWEST)


def test_a_number_that_few_rows_have_is_shown_as_one_between_two() -> None:
    rows = pd.DataFrame({"income": np.arange(1_000, 61_000, 100) + 3, "ratio": np.linspace(0, 1, 600)})

    example = build_example(rows, features_of(rows))

    assert isinstance(example["income"], int)
    assert example["income"] not in set(rows["income"])
    assert np.float32(example["ratio"]) not in set(rows["ratio"].astype("float32"))


def test_values_are_as_the_table_has_them(routes: pd.DataFrame) -> None:
    example = build_example(routes, features_of(routes))

    assert {name: type(value).__name__ for name, value in example.items()} == {
        "departure": "int",
        "arrival": "int",
        "distance": "int",
        "carrier": "str",
        "dest": "str",
        "temp": "float",
        "private": "bool",
        "booked": "str",
    }
    assert len(str(example["temp"])) <= 4  # 52.3, not 52.29999923706055
    assert str(example["booked"])[4::3][:2] == "--"


@pytest.mark.parametrize("value", [None, "x"])
def test_columns_that_are_hardly_ever_known_have_a_value(value: str | None) -> None:
    rows = pd.DataFrame({"a": [np.nan] * 99 + [3.5], "b": [value] * 50 + ["y"] * 50})

    example = build_example(rows, features_of(rows))

    assert example == {"a": 3.5, "b": "y" if value is None else "x"}
