"""The encoding is one and the same for a table in training and for a request's rows."""

import datetime as dt
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, NumberFeature, ScoreBins
from service.encoding import MISSING, UNSEEN

NUMBER = NumberFeature(name="a b", nullable=True, minimum=0, maximum=1, bin_edges=(0.5,), bin_shares=(0.5, 0.5, 0))
FLAG = BooleanFeature(name="<script>", nullable=True, bin_shares=(0.5, 0.5, 0))
CATEGORY = CategoryFeature(name="é", nullable=True, categories=("", "1", "да", "nan"), bin_shares=(0, 0, 1, 0, 0))
DATE = DateFeature(
    name="1.x",
    nullable=True,
    minimum="2020-01-01",
    maximum="2021-01-01",
    parts=("days", "month", "day", "weekday", "hour"),
    bin_edges=(),
    bin_shares=(1, 0),
)
CONTRACT = Contract(
    task="binary", target="y", classes=(False, True), positive=True, features=(NUMBER, FLAG, CATEGORY, DATE)
)

moments = st.datetimes()  # years 1 to 9999
rows = st.lists(
    st.fixed_dictionaries(
        {
            "a b": st.none()
            | st.floats(width=32, allow_nan=False, allow_infinity=False)
            | st.integers(-(2**53), 2**53),
            "<script>": st.none() | st.booleans(),
            "é": st.none() | st.sampled_from(CATEGORY.categories) | st.text(max_size=5),
            "1.x": st.none() | moments.map(dt.datetime.isoformat),
        }
    ),
    min_size=1,
    max_size=20,
)


def columns_of(instances: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in instances] for name in instances[0]}


def table_of(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """Return the types that `prepare` reads tables into."""
    return pd.DataFrame(
        {
            "a b": np.array([np.nan if v is None else v for v in columns["a b"]], dtype=np.float64),
            "<script>": pd.array(columns["<script>"], dtype="boolean"),
            "é": pd.array(columns["é"], dtype="str"),
            "1.x": np.array(columns["1.x"], dtype="datetime64[us]"),
        }
    )


@given(rows)
def test_a_table_and_the_same_rows_from_json_encode_to_the_same_bits(instances: list[dict[str, Any]]) -> None:
    columns = columns_of(json.loads(json.dumps(instances)))

    np.testing.assert_array_equal(CONTRACT.encode(table_of(columns)), CONTRACT.encode(columns))


@given(rows)
def test_a_single_row_encodes_as_in_a_batch(instances: list[dict[str, Any]]) -> None:
    together = CONTRACT.encode(columns_of(instances))
    alone = [CONTRACT.encode(columns_of([row])) for row in instances]

    np.testing.assert_array_equal(together, np.vstack(alone))


def test_the_matrix_is_float32_in_c_order_with_the_contracts_columns() -> None:
    matrix = CONTRACT.encode({"a b": [1, 2], "<script>": [True, None], "é": ["да", None], "1.x": [None, "2020-01-01"]})

    assert CONTRACT.columns == ("a b", "<script>", "é", "1.x.days", "1.x.month", "1.x.day", "1.x.weekday", "1.x.hour")
    assert matrix.dtype == np.float32
    assert matrix.shape == (2, 8)
    assert matrix.flags.c_contiguous


@pytest.mark.parametrize(
    "values",
    [["да", "?", None, float("nan"), 1], pd.Series(["да", "?", None, np.nan, 1], dtype=object)],
    ids=["list", "series"],
)
def test_a_category_is_its_place_or_missing_or_unseen(values: Any) -> None:
    assert CATEGORY.encode(values).ravel().tolist() == [2, UNSEEN, MISSING, MISSING, UNSEEN]


@pytest.mark.parametrize(
    "value",
    [
        "2020-02-29T23:30:00",
        "2020-03-01T01:30:00+02:00",
        "2020-02-29T23:30:00Z",
        dt.datetime(2020, 2, 29, 23, 30),  # noqa: DTZ001  # one without a zone is meant
        pd.Timestamp("2020-03-01T01:30", tz="Europe/Helsinki"),
        np.datetime64("2020-02-29T23:30"),
    ],
)
def test_a_date_is_the_same_in_every_form(value: Any) -> None:
    days, *calendar = DATE.encode([value]).ravel().tolist()

    assert days == pytest.approx(18321.979, abs=1e-3)
    assert calendar == [2, 29, 5, 23]


@pytest.mark.parametrize("dtype", ["datetime64[s]", "datetime64[ns]", "datetime64[us, UTC]", object])
def test_dates_of_a_table_encode_whatever_their_unit(dtype: Any) -> None:
    column = pd.Series(pd.to_datetime(pd.Series(["2020-02-29T23:00", None]), utc=True).astype("datetime64[us, UTC]"))
    column = (
        column.astype(dtype) if "UTC" in str(dtype) or dtype is object else column.dt.tz_localize(None).astype(dtype)
    )

    assert DATE.encode(column)[:, 1].tolist() == [2, pytest.approx(np.nan, nan_ok=True)]


@pytest.mark.parametrize(("text", "month"), [("0001-01-01", 1), ("9999-12-31T23:59:59", 12)])
def test_the_first_and_the_last_year_have_their_calendar(text: str, month: int) -> None:
    assert DATE.encode([text])[0, 1] == month


@pytest.mark.parametrize("value", [None, float("nan"), pd.NaT])
def test_a_missing_date_is_nan_in_every_part(value: Any) -> None:
    assert np.isnan(DATE.encode([value])).all()


@pytest.mark.parametrize("value", ["yesterday", "2020-13-01", 5, True, ["2020-01-01"]])
def test_what_is_no_date_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        DATE.encode([value])


@pytest.mark.parametrize("dtype", ["float64", "Float64", "Int64", "boolean", "bool", "int8"])
def test_numbers_of_every_pandas_type_encode(dtype: str) -> None:
    assert NUMBER.encode(pd.Series([1, 0], dtype=dtype)).ravel().tolist() == [1, 0]


def test_a_missing_number_of_a_pandas_type_is_nan() -> None:
    assert np.isnan(NUMBER.encode(pd.Series([None], dtype="Int64"))).all()


def test_a_contract_survives_its_file() -> None:
    assert Contract.model_validate_json(CONTRACT.model_dump_json()) == CONTRACT


def test_an_unknown_key_of_the_file_is_refused() -> None:
    with pytest.raises(ValueError, match="extra"):
        ScoreBins.model_validate_json('{"edges": [], "shares": [1], "count": 1}')
