"""A row's hash: the same for the same values, whatever their type, order or company."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import row_hash

TABLE = pd.DataFrame(
    {
        "whole": [1, 2, 3],
        "real": [0.1, -0.0, 1e30],
        "flag": [True, False, True],
        "name": pd.Series(["a", "é", "a b"], dtype="str"),
        "when": pd.to_datetime(["2020-01-01", "2020-01-02 03:04:05.000006", "9999-12-31"], format="ISO8601"),
    }
)
KNOWN = [3572712577481766160, 16545387870564411838, 4493357349783549364]
KNOWN_KEYS = [10451216379200822465, 10905525725756348110, 17824971123127853533]


def test_a_hash_never_changes() -> None:
    # The sides of rows in older runs depend on these numbers: they hold for ever.
    assert row_hash.rows(TABLE).tolist() == KNOWN
    assert row_hash.keys(pd.Series([1, 2, -3])).tolist() == KNOWN_KEYS


@pytest.mark.parametrize(
    "changes",
    [
        {"whole": "float32", "real": "float32"},
        {"whole": "float64", "flag": "float64"},
        {"whole": "Int16", "real": "Float64", "flag": "boolean", "name": "object"},
        {"whole": "str", "flag": "str"},
        {"when": "datetime64[ms]"},
    ],
)
def test_another_type_of_the_same_values_hashes_the_same(changes: dict[str, Any]) -> None:
    table = TABLE if "when" not in changes else TABLE.assign(when=TABLE["when"].dt.floor("ms"))

    np.testing.assert_array_equal(row_hash.rows(table.astype(changes)), row_hash.rows(table))


def test_a_column_without_values_and_the_order_of_columns_change_nothing() -> None:
    moved = TABLE[[*reversed(TABLE.columns)]].assign(new=None, also=np.nan)

    np.testing.assert_array_equal(row_hash.rows(moved), row_hash.rows(TABLE))


@pytest.mark.parametrize("name", TABLE.columns)
def test_every_column_counts(name: str) -> None:
    others = TABLE.assign(**{name: TABLE[name].iloc[[1, 0, 1]].to_numpy()})

    assert (row_hash.rows(others) != row_hash.rows(TABLE)).all()


def test_the_same_value_in_another_column_hashes_differently() -> None:
    assert (row_hash.rows(TABLE.rename(columns={"whole": "other"})) != row_hash.rows(TABLE)).all()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_large_keys_are_distinguished_and_text_hashes_as_the_number(numbers: list[int]) -> None:
    column = pd.Series(numbers, dtype="int64")

    assert len(np.unique(row_hash.keys(column))) == len(set(numbers))
    np.testing.assert_array_equal(row_hash.keys(column.astype("str")), row_hash.keys(column))


@pytest.mark.parametrize("kind", [int, float, str])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_hashes_are_spread_evenly(kind: type, share: float) -> None:
    marked = row_hash.below(row_hash.keys(pd.Series(range(40_000)).astype(kind)), share)

    error = np.sqrt(share * (1 - share) / 40_000)
    assert abs(marked.mean() - share) < 4 * error
    assert abs(marked[::2].mean() - marked[1::2].mean()) < 8 * error
