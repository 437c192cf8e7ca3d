"""The name of a model whose owner gave it none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import names
from stages.params import RegisterParams


@pytest.mark.parametrize(
    ("path", "target", "name"),
    [
        ("data/mine.csv", "arrival", "mine-arrival"),
        ("data/raw/mine.csv.gz", "y", "mine-y"),
        ("data/mine.csv", "y.2", "mine-y.2"),
        ("data/2024/mine.csv", "y", "2024-mine-y"),
        ("data/raw/flights.parquet", "arrival", "flights"),
        ("data/raw/flights.parquet", "carrier", "flights-carrier"),
    ],
)
def test_a_model_is_named_by_its_table_and_target(path: str, target: str, name: str) -> None:
    assert names.default(path, target) == name


@pytest.mark.parametrize(("one", "other"), [("Güte", "Gäte"), ("a b", "a-b"), ("класс", "цель"), ("x" * 99, "x" * 98)])
def test_names_that_look_alike_without_their_characters_stay_apart(one: str, other: str) -> None:
    assert names.default("data/mine.csv", one) != names.default("data/mine.csv", other)


@given(st.text(min_size=1), st.text(min_size=1))
def test_every_table_and_target_have_a_name_that_the_registry_takes(path: str, target: str) -> None:
    name = names.default(path, target)

    assert RegisterParams(name=name, min_gain=0, tolerance=0, required=False).name == name
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
