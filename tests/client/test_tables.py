"""A table gets the answers that the pipeline gives, whatever types its columns have."""

import decimal
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from reproducible_ml_client import Client, InvalidError
from reproducible_ml_client.encoding import encode_table

from tests.client.conftest import Connect
from tests.service.api.conftest import PASSWORD, expected_scores, make_table


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def to_zone(table: pd.DataFrame) -> Any:
    return table["when"].dt.tz_localize("UTC").dt.tz_convert("Asia/Kolkata")


VARIANTS: dict[str, Callable[[pd.DataFrame], dict[str, Any]]] = {
    "zones": lambda table: {"when": to_zone(table)},
    "nanoseconds": lambda table: {"when": table["when"].astype("datetime64[ns]")},
    "datetimes": lambda table: {"when": table["when"].dt.to_pydatetime().astype(object)},
    "zoned objects": lambda table: {"when": to_zone(table).astype(object)},
    "text": lambda table: {"when": table["when"].dt.strftime("%Y-%m-%d %H:%M:%S")},
    "arrow": lambda table: {
        "when": table["when"].astype("timestamp[us][pyarrow]"),
        "a b": table["a b"].astype("double[pyarrow]"),
        "flag": table["flag"].astype("bool[pyarrow]"),
    },
    "nullable": lambda table: {
        "a b": table["a b"].astype("Float64"),
        "flag": table["flag"].astype("boolean"),
        "shop": table["shop"].astype("string"),
    },
    "objects": lambda table: {
        "a b": table["a b"].astype(object).where(table["a b"].notna(), None),
        "flag": table["flag"].astype(object),
        "size": [np.float64(value) for value in table["size"]],
    },
    "categorical": lambda table: {"shop": table["shop"].astype("category"), "kind": table["kind"].astype("category")},
    "decimal": lambda table: {"size": [decimal.Decimal(repr(value)) for value in table["size"]]},
    "zero and one": lambda table: {"flag": table["flag"].astype(int)},
}


@pytest.mark.parametrize("target", ["binary", "boolean", "multiclass"])
def test_probabilities_are_the_pipelines_to_the_last_digit(target: str, connect: Connect, make_artifact: Any) -> None:
    client, _ = connect(target)
    table = make_table()
    scores = expected_scores(make_artifact(target), records(table))

    found = client.predict(table)

    np.testing.assert_array_equal(found.filter(like="probability_").to_numpy(np.float32), scores)
    assert {*found["prediction"]} <= {*client.model_info().classes}


def test_a_regression_has_values_and_no_probabilities(connect: Connect, make_artifact: Any) -> None:
    client, _ = connect("regression")
    table = make_table()

    found = client.predict(table)

    assert [*found] == ["prediction", "warnings"]
    expected = expected_scores(make_artifact("regression"), records(table))
    np.testing.assert_array_equal(found["prediction"].to_numpy(np.float32), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_column_means_the_same_in_every_type(variant: str, client: Client, table: pd.DataFrame) -> None:
    other = table.assign(**VARIANTS[variant](table))

    pd.testing.assert_frame_equal(client.predict(other), client.predict(table))


def test_rows_keep_an_index_of_several_levels(client: Client, table: pd.DataFrame) -> None:
    index = pd.MultiIndex.from_product([["a", "b"], range(150)], names=["part", "number"])

    found = client.predict(table.set_axis(index))

    pd.testing.assert_index_equal(found.index, index)


def test_a_row_alone_gets_the_same_answer(client: Client, table: pd.DataFrame) -> None:
    whole = client.predict(table)
    row = records(table)[7]
    row |= {"when": row["when"].tz_localize("UTC").tz_convert("America/New_York"), "a b": np.float32("nan")}
    row["size"] = decimal.Decimal(repr(float(row["size"])))

    found = client.predict_one(row)

    assert found.prediction == whole["prediction"].iloc[7]
    assert found.probabilities == {name: whole[f"probability_{name}"].iloc[7] for name in ("да", "нет")}
    assert found.model in whole.attrs["models"]


def test_integers_keep_all_their_digits(connect: Connect, table: pd.DataFrame) -> None:
    client, switch = connect("regression")
    numbers = [2**63 - 1, -(2**63), 2**53 + 1, 2**24 + 1, 16_777_217_000_000_001]
    rows = table.head(len(numbers)).assign(size=numbers, **{"a b": pd.array([*numbers[1:], None], dtype="Int64")})
    texts = encode_table(rows, {})

    found = client.predict(rows)

    assert [json.loads(text)["size"] for text in texts] == numbers
    assert [json.loads(text)["a b"] for text in texts] == [*numbers[1:], None]
    with httpx.Client(base_url=f"http://127.0.0.1:{switch.port}") as direct:
        token = direct.post("/token", data={"username": "anna", "password": PASSWORD}).json()["access_token"]
        body = '{"instances":[' + ",".join(texts) + "]}"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        answer = direct.post("/predict", content=body, headers=headers).json()
    assert found["prediction"].tolist() == answer["predictions"]


def test_numbers_for_a_feature_of_categories_become_text_as_in_training() -> None:
    table = pd.DataFrame(
        {
            "zip": [1067, 2],
            "region": [3.0, np.nan],
            "code": pd.Categorical([10, 20]),
            "big": pd.array([2**62 + 1, None], dtype="Int64"),
            "yes": [True, False],
        }
    )

    encoded = [json.loads(text) for text in encode_table(table, {str(name): "category" for name in table})]

    assert encoded == [
        {"zip": "1067", "region": "3", "code": "10", "big": str(2**62 + 1), "yes": "true"},
        {"zip": "2", "region": None, "code": "20", "big": None, "yes": "false"},
    ]


def test_moments_keep_their_microseconds_and_years_before_1970() -> None:
    moments = np.array(["1912-06-23T01:02:03.000001", "NaT", "2300-01-01"], dtype="datetime64[us]")
    texts = encode_table(pd.DataFrame({"when": moments}), {})

    found = [json.loads(text)["when"] for text in texts]

    assert found == ["1912-06-23T01:02:03.000001", None, "2300-01-01T00:00:00.000000"]


def test_an_infinite_number_is_refused_with_its_field(client: Client, table: pd.DataFrame) -> None:
    wrong = table.copy()
    wrong.loc["row 4", "size"] = np.inf

    with pytest.raises(InvalidError) as refused:
        client.predict(wrong)

    (error,) = refused.value.errors
    assert (error.instance, error.label, error.field) == (4, "row 4", "size")


def test_an_empty_table_gets_an_empty_answer(client: Client, table: pd.DataFrame) -> None:
    found = client.predict(table.head(0), ids=True)

    assert [*found] == ["prediction", "probability_да", "probability_нет", "warnings", "prediction_id"]
    assert found.empty


def test_two_columns_of_one_name_are_refused(client: Client, table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="two columns 'size'"):
        client.predict(table.rename(columns={"a b": "size"}))


@pytest.mark.parametrize("value", [b"x", pd.Timedelta(1), 1j, ["x"]])
def test_a_value_without_a_form_in_json_is_refused_by_name(value: Any, client: Client, table: pd.DataFrame) -> None:
    with pytest.raises(TypeError, match=f"shop: a value of type {type(value).__name__}"):
        client.predict(table.assign(shop=pd.Series([value] * len(table), dtype=object, index=table.index)))


@pytest.mark.parametrize(
    "given",
    [{}, {"username": "anna"}, {"password": "x"}, {"username": "anna", "password": "x", "api_key": "y"}],
)
def test_exactly_one_credential_is_needed(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="give either"):
        Client("http://127.0.0.1:9", **given)  # type: ignore[arg-type]
