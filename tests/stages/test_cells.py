"""Cells: what is missing, and what is stray among others."""

from typing import Any

import pyarrow as pa
import pytest

from stages import _cells
from stages._cells import Cells
from stages._errors import UserError


def cells(values: list[Any]) -> Cells:
    return Cells("t.csv", "a", pa.chunked_array([pa.array(values, pa.string())]), lambda row: f"line {row + 2}")


def refuse(values: list[str], *, only_stand_ins: bool = False) -> None:
    column = cells(values)
    fits = column.match(r"^\d+$")
    _cells.refuse_strays(column, fits, "is no number", only_stand_ins=only_stand_ins)


def test_blanks_around_a_cell_are_taken_away_before_it_is_compared() -> None:
    values = pa.chunked_array([pa.array([" NA ", "\u3000x\t", "", "NA x"])])

    assert _cells.find_missing(values, ["NA", " "]).to_pylist() == [None, "x", None, "NA x"]


STRAY = {
    "a stand-in among ten": ["1", *["?"] * 9],
    "several stand-ins": ["1", "2", "N/A", "-", "unknown"],
    "a decorated number": ["1", "2", "$3"],
    "a thousand": ["1", "2", "1 234"],
    "a word among many": [*map(str, range(50)), "soon"],
    "a word that returns": [*map(str, range(50)), *["not told"] * 5],
    "a bound among measurements": [*map(str, range(50)), "<1"],
}
CATEGORIES = {
    "an open class": ["0", "1", "2", "3+"] * 5,
    "a frequent word": ["1", "2", "3", "4", "other"] * 5,
    "codes of many kinds": [*map(str, range(50)), *(f"V{code}" for code in range(10))],
    "few numbers": ["1", *["red", "green"] * 9],
    "numbers alone": ["1", "2"],
    "nothing": [],
}


@pytest.mark.parametrize("name", STRAY)
def test_a_cell_that_does_not_belong_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"^t\.csv: line \d+, column 'a': '.*' is no number; correct it, or add it"):
        refuse(STRAY[name])


@pytest.mark.parametrize("name", CATEGORIES)
def test_cells_of_a_category_are_left_alone(name: str) -> None:
    refuse(CATEGORIES[name])


def test_where_only_stand_ins_count_a_word_is_left_alone() -> None:
    refuse([*map(str, range(50)), "soon"], only_stand_ins=True)


def test_a_long_cell_is_shown_shortened() -> None:
    assert cells(["x" * 99]).show(0) == f"'{'x' * 40}...'"


@pytest.mark.parametrize(("values", "decorated"), [(["5%", "1 234", "€3"], True), (["red", "5%"], False)])
def test_numbers_with_units_are_noticed(values: list[str], decorated: bool) -> None:
    assert _cells.looks_decorated(cells([None, *values])) is decorated


def test_truth_values_may_be_missing() -> None:
    flags = _cells.read_booleans(cells(["True", None, "FALSE"]))

    assert flags is not None
    assert flags.dtype == "boolean"
    assert flags.to_list()[::2] == [True, False]
