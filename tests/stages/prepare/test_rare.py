"""Rare classes: refused with the setting that helps, left out, or joined."""

import numpy as np
import pandas as pd
import pytest

from stages.errors import UserError
from stages.params.sections import DataParams
from stages.prepare import rare

TARGET = pd.Series(["a"] * 10 + ["b"] * 10 + ["c", "d", "d", "e", "e", "e"], name="y")
TEST = np.array([False, True] * 13)


def data(setting: str) -> DataParams:
    return DataParams.model_validate({"path": "t.csv", "target": "y", "rare_classes": setting})


def test_the_error_names_the_classes_and_the_setting() -> None:
    expected = "the target 'y' has 2 classes .*: 'c' 1 row, 'd' 2 rows; set data.rare_classes in params.yaml to drop"

    with pytest.raises(UserError, match=expected):
        rare.resolve(TARGET, TEST, data("error"))


def test_dropped_rows_are_marked_and_counted() -> None:
    resolved = rare.resolve(TARGET, TEST, data("drop"))

    assert set(resolved.target[resolved.kept]) == {"a", "b", "e"}
    assert resolved.about
    assert (resolved.about.left_out, resolved.about.classes) == (3, {"c": 1, "d": 2})
    assert resolved.about.describe() == "2 rare classes ('c' 1 row, 'd' 2 rows): 3 rows left out"


def test_rows_that_cannot_be_joined_are_left_out_and_the_reason_is_given() -> None:
    resolved = rare.resolve(TARGET, TARGET.isin(["c", "d"]).to_numpy(), data("join"))

    assert resolved.about
    assert resolved.about.describe().endswith(": 3 rows left out instead of joined, as all are test rows")


def test_one_class_and_one_row_are_told_in_the_singular() -> None:
    resolved = rare.resolve(TARGET[TARGET != "d"], TEST[TARGET != "d"], data("join"))

    assert resolved.about
    assert resolved.about.describe() == "1 rare class ('c' 1 row): 1 row joined into the class 'other'"


@pytest.mark.parametrize(("taken", "expected"), [("b", "other"), ("other", "other_2")])
def test_joined_rows_become_one_class_of_a_free_name(taken: str, expected: str) -> None:
    resolved = rare.resolve(TARGET.replace("b", taken), TEST, data("join"))

    assert resolved.kept.all()
    assert resolved.target.value_counts()[expected] == 3
    assert resolved.about
    assert (resolved.about.joined, resolved.about.into) == (3, expected)


@pytest.mark.parametrize("setting", ["drop", "join"])
def test_every_class_that_is_left_has_a_training_row(setting: str) -> None:
    for seed in range(50):
        test = np.random.default_rng(seed).random(len(TARGET)) < 0.5
        resolved = rare.resolve(TARGET, test, data(setting))

        assert set(resolved.target[resolved.kept]) == set(resolved.target[resolved.kept & ~test])
