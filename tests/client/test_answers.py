"""Warnings, intervals, explanations and feedback."""

import numpy as np
import pandas as pd
import pytest
from reproducible_ml_client import Client, InvalidError, ServiceError, Stored

from tests.client.conftest import Connect


def test_values_that_training_did_not_have_are_warned_of_in_their_row(client: Client, table: pd.DataFrame) -> None:
    usual = table.assign(shop="é", size=0.0, when=pd.Timestamp("2020-06-01"))
    usual.loc["row 0", "shop"] = "new"
    usual.loc["row 299", "size"] = 99.0

    found = client.predict(usual)

    assert found["warnings"].iloc[0] == "shop unseen_category"
    assert found["warnings"].iloc[-1] == "size out_of_range"
    assert {*found["warnings"].iloc[1:-1]} <= {"", "a b out_of_range"}


def test_intervals_and_sets_come_with_their_rows(connect: Connect, table: pd.DataFrame) -> None:
    numbers, _ = connect("regression", covered=True)
    classes, _ = connect("multiclass", covered=True)
    row = {str(name): value for name, value in table.iloc[0].items()}

    intervals, sets = numbers.predict(table, coverage=0.9), classes.predict(table, coverage=0.9)

    np.testing.assert_allclose(intervals["high"] - intervals["low"], 1.8, atol=1e-5)
    assert ((intervals["low"] <= intervals["prediction"]) & (intervals["prediction"] <= intervals["high"])).all()
    assert numbers.predict_one(row, coverage=0.9).interval == (intervals["low"].iloc[0], intervals["high"].iloc[0])
    assert {label for labels in sets["set"] for label in labels} <= {1, 2, 3}
    assert list(classes.predict_one(row, coverage=0.9).prediction_set or ()) == sets["set"].iloc[0]
    assert 0.9 < (numbers.model_info().highest_coverage or 0) < 1


def test_a_coverage_that_cannot_be_promised_is_refused(connect: Connect, table: pd.DataFrame) -> None:
    client, _ = connect("regression", covered=True)

    with pytest.raises(InvalidError) as refused:
        client.predict(table, coverage=0.999)

    assert refused.value.errors[0].field == "coverage"


def test_contributions_add_up_to_the_probability(client: Client, table: pd.DataFrame) -> None:
    rows = table.head(25)

    found = client.explain(rows)

    pd.testing.assert_index_equal(found.index, rows.index)
    positive = client.model_info().positive
    np.testing.assert_allclose(found.sum(axis=1), client.predict(rows)[f"probability_{positive}"], atol=1e-6)
    assert found.attrs["largest_error"] == 0


def test_explanations_come_in_the_parts_that_the_service_allows(connect: Connect, table: pd.DataFrame) -> None:
    client, _ = connect(max_explained=3)

    assert len(client.explain(table.head(8))) == 8


def test_feedback_is_stored_once(connect: Connect, table: pd.DataFrame) -> None:
    client, _ = connect("multiclass", max_instances=100)
    predicted = client.predict(table, ids=True)
    predicted["actual"] = predicted["prediction"].where(predicted.index != "row 3")  # turns the classes into floats

    assert client.feedback(predicted) == Stored(new=299, known=0)
    assert client.feedback(predicted) == Stored(new=0, known=299)


def test_feedback_that_contradicts_names_its_row(connect: Connect, table: pd.DataFrame) -> None:
    client, _ = connect(max_instances=100)
    predicted = client.predict(table, ids=True).assign(actual="да")
    client.feedback(predicted)
    predicted.loc["row 234", "actual"] = "нет"

    with pytest.raises(ServiceError) as refused:
        client.feedback(predicted)

    assert refused.value.status == 409
    assert [(each.instance, each.label, each.field) for each in refused.value.errors] == [(234, "row 234", "actual")]


def test_one_prediction_has_an_id_for_feedback(client: Client, table: pd.DataFrame) -> None:
    row = {str(name): value for name, value in table.iloc[0].items()}

    found = client.predict_one(row, ids=True)

    assert client.feedback(pd.DataFrame({"prediction_id": [found.prediction_id], "actual": ["да"]})).new == 1


def test_the_model_is_described(client: Client) -> None:
    info = client.model_info()

    assert (info.task, info.target, info.positive) == ("binary", "y", info.classes[0])
    assert {feature.name: feature.type for feature in info.features}["when"] == "date"
