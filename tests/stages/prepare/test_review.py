"""What is reported about a table before anybody trusts its figures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.errors import UserError
from stages.params.params import Params
from stages.prepare import __main__ as prepare

Make = Callable[..., Params]
RNG = np.random.default_rng(0)
ROWS = 3_000
NOISE = RNG.normal(size=ROWS)
CLASSES = np.where(NOISE + RNG.normal(size=ROWS) > 0, "yes", "no")
THREE = RNG.choice(["a", "b", "c"], ROWS)
NUMBERS = np.exp(RNG.normal(size=ROWS))
HALF = RNG.random(ROWS) < 0.5

GIVEN_AWAY: dict[str, tuple[Any, Any]] = {
    "a number above a line": (np.where(CLASSES == "yes", 5, 1) + RNG.random(ROWS), CLASSES),
    "a falling number": (np.where(CLASSES == "yes", 1, 5) + RNG.random(ROWS), CLASSES),
    "missing where it is no": (pd.Series(NOISE).where(CLASSES == "yes"), CLASSES),
    "a number in the middle": (np.where(CLASSES == "yes", 0, RNG.choice([-9, 9], ROWS)) + RNG.random(ROWS), CLASSES),
    "a code of three classes": (np.searchsorted(["a", "b", "c"], THREE), THREE),
    "names of classes": (pd.Series(THREE).map({"a": "x", "b": "y", "c": "z"}), THREE),
    "two names of each": (np.char.add(CLASSES.astype(str), RNG.choice(["1", "2"], ROWS)), CLASSES),
    "a flag": (CLASSES == "yes", CLASSES),
    "the number": (NUMBERS * 3 + 1, NUMBERS),
    "its logarithm": (np.log(NUMBERS), NUMBERS),
    "its name": ([f"n{each}" for each in np.arange(ROWS) % 20], np.arange(ROWS) % 20 + NOISE / 100),
    "the day": (pd.Timestamp("2020-01-01") + pd.to_timedelta((NUMBERS * 1e4).astype(int), unit="m"), NUMBERS),
}
NOT_GIVEN_AWAY: dict[str, tuple[Any, Any]] = {
    "noise": (RNG.normal(size=ROWS), CLASSES),
    "a good feature": (NOISE, CLASSES),
    "many names": ([f"n{each}" for each in RNG.integers(0, 800, ROWS)], CLASSES),
    "a number of one class in three": (np.where(THREE == "a", 5, 0) + RNG.random(ROWS), THREE),
    "a good number": (NUMBERS + RNG.normal(size=ROWS) / 4, NUMBERS),
    "many names of numbers": ([f"n{each}" for each in RNG.integers(0, 800, ROWS)], NUMBERS),
}


def findings(params: Make, x: Any, y: Any, **changes: Any) -> str:
    table = pd.DataFrame({"x": x, "other": RNG.normal(size=len(y)), "y": y})
    _, _, schema = prepare.prepare(table, params(**changes))
    return "\n".join(schema.findings)


@pytest.mark.parametrize("name", GIVEN_AWAY)
def test_a_feature_that_gives_the_target_away_is_reported(params: Make, name: str) -> None:
    assert "'x' predicts the target almost perfectly (" in findings(params, *GIVEN_AWAY[name])


def test_a_line_between_few_rows_is_found_too(params: Make) -> None:
    x = RNG.random(150)

    assert "predicts the target almost perfectly" in findings(params, x, np.where(x > 0.71, "yes", "no"))


@pytest.mark.parametrize("name", NOT_GIVEN_AWAY)
def test_a_feature_that_only_helps_is_not(params: Make, name: str) -> None:
    assert "predicts the target almost perfectly" not in findings(params, *NOT_GIVEN_AWAY[name])


def test_noise_gives_no_small_target_away(params: Make) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        table = pd.DataFrame(rng.normal(size=(60, 30)), columns=[f"c{number}" for number in range(30)])
        _, _, schema = prepare.prepare(table.assign(y=rng.choice(["a", "b", "c"], 60)), params())
        assert not [each for each in schema.findings if "away" in each]


def test_test_rows_with_the_features_of_a_training_row_are_counted(params: Make) -> None:
    half = pd.DataFrame({"x": NOISE, "y": CLASSES})
    table = pd.concat([half, half.assign(y="no")], ignore_index=True).assign(customer_id=range(2 * ROWS))
    train, test, schema = prepare.prepare(table, params())

    same = test["x"].isin(train["x"])
    whole = pd.Series([*zip(test["x"], test["y"], strict=True)]).isin([*zip(train["x"], train["y"], strict=True)])
    assert any(
        each.startswith(f"{same.sum():,} test rows (") and f"and {whole.sum():,} of them its target too" in each
        for each in schema.findings
    )


def test_a_table_of_few_different_rows_is_reported(params: Make) -> None:
    found = findings(params, RNG.integers(0, 9, 600), CLASSES[:600])
    assert "stay together" not in found

    table = pd.DataFrame({"x": RNG.integers(0, 60, 600), "y": CLASSES[:600]})
    _, _, schema = prepare.prepare(table, params())
    assert any("600 rows have only 60 combinations of features" in each for each in schema.findings)

    table["serial_id"] = RNG.permutation(600)  # no feature, and yet it parts equal features
    _, _, schema = prepare.prepare(table, params())
    assert any("test rows (" in each and "have the features of a training row" in each for each in schema.findings)
    assert not any("stay together" in each for each in schema.findings)


def test_classes_that_differ_by_case_or_blanks_are_reported(params: Make) -> None:
    y = RNG.choice(["Yes", "yes", "YES", "no", "no  way", "No way"], 600)

    found = findings(params, RNG.normal(size=600), y)

    assert found.count("classes that differ only by case or blanks") == 2
    assert all(f"{name!r} ({(y == name).sum()} rows)" in found for name in ("Yes", "yes", "YES", "no  way", "No way"))


def test_a_rare_spelling_is_named_in_the_error(params: Make) -> None:
    y = np.array(["Yes", "no"] * 100)
    y[0] = "yes"

    with pytest.raises(UserError, match=r"'yes' 1 row; 'yes' and 'Yes' differ only by case .*data.rare_classes"):
        findings(params, RNG.normal(size=200), y)


def test_values_beyond_training_are_reported(params: Make) -> None:
    split = {"method": "time", "test_size": 0.25, "time_column": "x"}
    table = pd.DataFrame({"x": range(400), "a": [*RNG.random(300), *RNG.random(100) * 2], "y": CLASSES[:400]})

    _, _, schema = prepare.prepare(table, params(split=split))

    assert any(
        each.startswith("'a': ") and "outside the training range or categories" in each for each in schema.findings
    )


def test_a_share_far_from_the_one_asked_for_is_reported(params: Make) -> None:
    split = {"method": "time", "test_size": 0.25, "time_column": "day"}
    table = pd.DataFrame({"day": [1] * 100 + [2] * 100, "a": RNG.random(200), "y": CLASSES[:200]})

    _, _, schema = prepare.prepare(table, params(split=split))

    assert "50.0% of the rows are test rows, but split.test_size is 25.0%: " in "".join(schema.findings)
