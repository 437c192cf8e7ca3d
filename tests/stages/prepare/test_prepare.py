"""From a table to rows that train, rows that test, and a schema that tells what was decided."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.errors import UserError
from stages.params.params import Params
from stages.prepare import __main__ as prepare

Make = Callable[..., Params]


def by_time(column: str) -> dict[str, Any]:
    return {"method": "time", "test_size": 0.25, "time_column": column, "group_column": None}


def test_rows_without_a_target_are_dropped_and_counted(table: pd.DataFrame, params: Make) -> None:
    table.loc[:4, "y"] = None

    _, _, schema = prepare.prepare(table, params())

    assert schema.rows.without_target == 5
    assert schema.rows.train + schema.rows.test == len(table) - 5


def test_features_are_float32_text_and_moments_as_the_schema_says(table: pd.DataFrame, params: Make) -> None:
    rows, _, schema = prepare.prepare(table, params())

    kinds = {"number": "float32", "boolean": "float32", "category": "str", "date": "datetime64[us]"}
    assert {feature.name: str(rows[feature.name].dtype) for feature in schema.contract.features} == {
        feature.name: kinds[feature.type] for feature in schema.contract.features
    }
    assert list(rows) == [*(feature.name for feature in schema.contract.features), "y"]


def test_test_rows_keep_the_columns_that_are_left_out(table: pd.DataFrame, params: Make) -> None:
    train, test, schema = prepare.prepare(table, params(split=params().split.model_dump() | {"key": "row"}))

    assert schema.split.hash_column
    assert set(test) - set(train) == {"constant", schema.split.hash_column}
    assert set(table["row"]) == {*train["row"], *test["row"]}


def test_a_split_by_time_says_from_when_to_when(table: pd.DataFrame, params: Make) -> None:
    _, _, schema = prepare.prepare(table.dropna(subset=["when"]), params(split=by_time("when")))

    assert str(schema.split.train_to) < str(schema.split.test_from)


def test_a_class_without_training_rows_follows_rare_classes(table: pd.DataFrame, params: Make) -> None:
    table.loc[195:, "y"] = "new"

    with pytest.raises(UserError, match=r"without a training row: .new. 5 rows; set data\.rare_classes"):
        prepare.prepare(table, params(split=by_time("row")))

    _, test, schema = prepare.prepare(table, params(split=by_time("row"), data={"rare_classes": "drop"}))

    assert "new" not in set(test["y"])
    assert schema.rows.test == 45
    assert schema.rare_classes
    assert (schema.rare_classes.classes, schema.rare_classes.left_out) == ({"new": 5}, 5)


def test_test_rows_of_unlearnt_classes_alone_are_refused(table: pd.DataFrame, params: Make) -> None:
    table.loc[150:, "y"] = "new"

    with pytest.raises(UserError, match="no test row is left, as all have rare classes"):
        prepare.prepare(table, params(split=by_time("row"), data={"rare_classes": "drop"}))


def test_training_rows_of_one_class_are_refused(table: pd.DataFrame, params: Make) -> None:
    table["y"] = table["row"] >= 170

    with pytest.raises(UserError, match="the training rows hold only the class false"):
        prepare.prepare(table, params(split=by_time("row"), data={"rare_classes": "drop"}))


def test_strict_columns_are_marked_in_the_contract(table: pd.DataFrame, params: Make) -> None:
    _, _, schema = prepare.prepare(table, params(data={"strict": ["class", "flag"]}))

    assert [feature.name for feature in schema.contract.features if feature.strict] == ["class", "flag"]


@pytest.mark.parametrize(
    ("target", "task"),
    [(lambda t: t["flag"], "binary"), (lambda t: t["1.x"], "multiclass"), (lambda t: t["le"], "regression")],
)
def test_the_task_is_found_out(
    table: pd.DataFrame, params: Make, target: Callable[[pd.DataFrame], pd.Series], task: str
) -> None:
    table["y"] = target(table)

    _, _, schema = prepare.prepare(table, params())

    assert schema.contract.task == task


@pytest.mark.parametrize(
    ("target", "settings", "expected"),
    [
        ("le", {"calibration": "sigmoid"}, "calibration: 'sigmoid' is not for regression; use null"),
        ("le", {"matrix": {"*": {"*": 1.0}}}, "evaluate.costs: is for a target of classes, this one is a regression"),
        ("1.x", {"false_positive": 1.0, "false_negative": 2.0}, "for two classes, this target has 5; use matrix"),
        ("y", {"matrix": {"si": {"no": 1.0}}}, "evaluate.costs.matrix: 'no' is no class of 'y'"),
        ("y", {"matrix": {"да": {"*": 1.0}, "нет": {"*": 0.0}}}, "a wrong prediction must cost more than the right"),
    ],
)
def test_settings_that_do_not_fit_the_target_are_refused_before_anything_is_fitted(
    table: pd.DataFrame, params: Make, target: str, settings: dict[str, Any], expected: str
) -> None:
    costs = params().evaluate.model_dump() | {"threshold": "auto", "costs": settings}
    changes = settings if "calibration" in settings else {"evaluate": costs}

    with pytest.raises(UserError, match=expected):
        prepare.prepare(table.assign(y=table[target]), params(**changes))


def test_a_wide_table_is_prepared(params: Make) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(100, 500)), columns=[f"c{number}" for number in range(500)])

    _, _, schema = prepare.prepare(table.assign(y=["a", "b"] * 50), params())

    assert len(schema.contract.features) == 500
