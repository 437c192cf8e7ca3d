"""Classes or numbers, and whether they can be learnt."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.errors import UserError
from stages.params.params import Params
from stages.prepare import target as _target

Make = Callable[..., Params]
RNG = np.random.default_rng(0)

CLASSES = {
    "text": ["a", "b"] * 100,
    "booleans": [True, False] * 100,
    "0 and 1": [0, 1] * 100,
    "whole floats": [1.0, 2.0, 3.0, 3.0] * 50,
    "grades": RNG.integers(1, 7, 200),
    "three classes in 24 rows": [1, 2, 3] * 8,
    "a class that stands alone": [0] * 199 + [1],
}
NUMBERS = {
    "fractions": RNG.normal(size=200),
    "halves": [0.5, 1.5] * 100,
    "prices": RNG.integers(10_000, 90_000, 200),
    "counts": RNG.poisson(8, 200),
    "ages": RNG.integers(0, 90, 1000),
}


@pytest.mark.parametrize("name", CLASSES)
def test_few_names_are_classes(name: str) -> None:
    assert _target.is_classification(pd.Series(CLASSES[name]), "auto")


@pytest.mark.parametrize("name", NUMBERS)
def test_many_or_fractional_numbers_are_a_regression(name: str) -> None:
    assert not _target.is_classification(pd.Series(NUMBERS[name]), "auto")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([f"k{row // 2}" for row in range(600)], "has 300 classes, and at most 200 are allowed"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"] * 10), "holds dates; expected classes or numbers"),
        ([0.5, 1.0] * 20, "data.task: got 'classification', but the target 'y' holds fractions"),
    ],
)
def test_classes_that_cannot_be_learnt_are_refused(params: Make, values: Any, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        _target.labels(pd.Series(values, name="y"), params())


@pytest.mark.parametrize(
    ("classes", "wanted", "expected"),
    [
        (("no", "yes"), None, "yes"),
        (("late", "on time"), "late", "late"),
        ((False, True), True, True),
        ((False, True), 1, True),
        ((False, True), "True", True),
        ((0, 1), False, 0),
        ((0, 1), "0", 0),
        (("0", "1"), 1, "1"),
        (("False", "True"), True, "True"),
        (("Yes", "yes"), "yes", "yes"),
    ],
)
def test_the_positive_class_is_found_in_whatever_form_it_is_named(
    params: Make, classes: tuple[Any, ...], wanted: Any, expected: Any
) -> None:
    found = _target.positive(pd.Series(classes), classes, params(data={"positive": wanted}))

    assert (type(found), found) == (type(expected), expected)


def test_a_positive_class_that_is_none_is_refused_with_those_that_are(params: Make) -> None:
    with pytest.raises(UserError, match=r"data\.positive: got 'late'; the classes are 0 and 1"):
        _target.positive(pd.Series([0, 1]), (0, 1), params(data={"positive": "late"}))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (["late", "on_time", "on_time"], "late"),
        (["no", "no", "yes"], "yes"),
        (["no", "yes"], "yes"),
        ([0, 1, 1], 1),
        ([False, True, True], True),
    ],
)
def test_without_a_word_the_positive_class_is_1_or_true_or_the_rarer_name(
    params: Make, target: list[Any], expected: Any
) -> None:
    classes = tuple(sorted(set(target)))
    assert _target.positive(pd.Series(target), classes, params(data={"positive": None})) == expected
