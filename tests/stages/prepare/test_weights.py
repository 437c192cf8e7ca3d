"""The column of weights is no feature, stays with the rows, and has a number above 0 in each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.errors import UserError
from stages.params.params import Params
from stages.prepare import __main__ as prepare

Make = Callable[..., Params]


def test_the_weight_is_no_feature_and_stays_with_both_parts(table: pd.DataFrame, params: Make) -> None:
    table["w"] = np.arange(200) + 1
    train, test, schema = prepare.prepare(table, params(data={"weight": "w"}))
    assert "w" not in [feature.name for feature in schema.contract.features]
    assert "w" in schema.contract.left_out
    assert sorted([*train["w"], *test["w"]]) == list(range(1, 201))
    assert [column.reason for column in schema.left_out if column.name == "w"] == [
        "is the weight of each row (data.weight)"
    ]


def test_other_weights_move_no_row_to_the_other_side(table: pd.DataFrame, params: Make) -> None:
    rng = np.random.default_rng(0)
    parts = [prepare.prepare(table.assign(w=rng.random(200) + 1), params(data={"weight": "w"}))[1] for _ in range(2)]
    assert parts[0].drop(columns="w").equals(parts[1].drop(columns="w"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, "table.csv: row 9: 'w' has 0; expected a number above 0: correct it or leave the row out"),
        (-1.5, "row 9: 'w' has -1.5; expected a number above 0"),
        (np.nan, "row 9: 'w' has no value; expected a number above 0"),
        (np.inf, "row 9: 'w' has inf; expected a number above 0"),
        ("x", "'w' holds 1.0; expected a number above 0 in every row"),
    ],
)
def test_a_weight_that_is_no_number_above_0_is_refused(
    table: pd.DataFrame, params: Make, value: Any, message: str
) -> None:
    weights: list[Any] = [1.0] * 200
    weights[7] = value
    with pytest.raises(UserError) as caught:
        prepare.prepare(table.assign(w=weights), params(data={"weight": "w"}))
    assert message in str(caught.value)
    assert str(caught.value).endswith("(params.yaml: data.weight)")


def test_several_wrong_weights_are_counted(table: pd.DataFrame, params: Make) -> None:
    with pytest.raises(UserError, match="row 2 and 199 more: 'w' has 0"):
        prepare.prepare(table.assign(w=0), params(data={"weight": "w"}))
