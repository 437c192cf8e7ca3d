"""Numbers: every notation people use, and nothing that would be rounded or guessed."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages._cells import Cells
from stages._errors import UserError
from stages._numbers import read_numbers


def cells(values: list[str | None]) -> Cells:
    return Cells("t.csv", "a", pa.chunked_array([pa.array(values, pa.string())]), lambda row: f"line {row + 2}")


def numbers(values: list[str | None], delimiter: str = ",") -> list[float] | None:
    series = read_numbers(cells(values), delimiter)
    return None if series is None else series.tolist()


@given(st.lists(st.floats(-1e38, 1e38), min_size=1))
def test_every_number_is_read_to_the_last_bit(expected: list[float]) -> None:
    assert numbers([repr(value) for value in expected]) == expected


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1))
def test_every_exact_whole_number_is_read_as_such(expected: list[int]) -> None:
    series = read_numbers(cells([str(value) for value in expected]), ",")

    assert series is not None
    assert series.dtype == np.int64
    assert series.tolist() == expected


def test_whole_numbers_with_one_missing_are_fractions_with_nan() -> None:
    series = read_numbers(cells(["1", None]), ",")

    assert series is not None
    assert series.iloc[0] == 1.0
    assert math.isnan(series.iloc[1])


@pytest.mark.parametrize(
    ("values", "delimiter", "expected"),
    [
        (["12,5", "7"], ";", [12.5, 7.0]),
        (["0,998", "0,999"], ";", [0.998, 0.999]),
        (["12,5", "7,25"], ",", [12.5, 7.25]),
        (["1,234", "5,678"], ",", None),
        (["1.0", "2.0"], ";", [1.0, 2.0]),
    ],
)
def test_a_comma_is_a_decimal_where_that_is_plain(
    values: list[str | None], delimiter: str, expected: list[float] | None
) -> None:
    assert numbers(values, delimiter) == expected


@pytest.mark.parametrize(
    ("values", "delimiter", "expected"),
    [
        (["1,234", "5,678"], ";", "may be a decimal or a thousand"),
        (["1,5", "2.5", "3.5"], ";", "'1,5' stands among numbers with decimal points"),
        (["1", "2", "3", "12,5"], ",", "'12,5' is not a number"),
        (["1", "nan"], ",", "'nan' is not a number"),
        (["1e400"], ",", "infinite or too large"),
        (["9007199254740993"], ",", "beyond 2\\^53"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused(values: list[str | None], delimiter: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        numbers(values, delimiter)


@pytest.mark.parametrize("values", [["00501", "90210"], ["01", "2", "03"], ["1", "007", "0042"]])
def test_codes_with_leading_zeros_are_no_numbers(values: list[str | None]) -> None:
    assert numbers(values) is None


@pytest.mark.parametrize("values", [["0", "10", "5"], ["0.5", "0.25"], ["05", *map(str, range(20))]])
def test_a_zero_alone_does_not_make_a_code(values: list[str | None]) -> None:
    assert numbers(values) == [float(str(value)) for value in values]
