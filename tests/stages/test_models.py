"""From a table to a served model: every model, every kind of target."""

from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

import service.model
from stages import evaluate, export, prepare, train
from stages._errors import UserError
from stages._params import Params

Make = Callable[..., Params]
FORESTS = ["random_forest", "extra_trees", "gradient_boosting", "hist_gradient_boosting"]
TARGETS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "binary": lambda table: table["y"],
    "boolean": lambda table: table["le"] > 0,
    "multiclass": lambda table: pd.cut(table["le"], [-9, -0.5, 0.5, 9], labels=[1, 2, 3]).astype(int),
    "regression": lambda table: table["le"] * 3 + table["flag"],
}
CASES = [
    (target, model)
    for target in TARGETS
    for model in [*FORESTS, "ridge" if target == "regression" else "logistic_regression"]
]


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@pytest.mark.parametrize(("target", "model"), CASES)
def test_the_exported_file_agrees_with_scikit_learn(
    table: pd.DataFrame, params: Make, tmp_path: Path, target: str, model: str
) -> None:
    table["y"] = TARGETS[target](table)
    wanted = params(model=model)
    rows, test, schema = prepare.prepare(table, wanted)
    pipeline = train.train(rows, schema.contract, wanted)
    (tmp_path / "m.onnx").write_bytes(export.export(pipeline, schema.contract))
    served = service.model.load(tmp_path / "m.onnx")
    assert export.check_parity(pipeline, served, test) < export.TOLERANCE
    found, _ = evaluate.evaluate(served, rows["y"], test, wanted)
    assert found.get("roc_auc", found.get("r2", 0)) > found.get("baseline_roc_auc", found.get("baseline_r2", 0)) + 0.1


def test_columns_that_say_nothing_are_left_out_with_the_reason(table: pd.DataFrame, params: Make) -> None:
    _, _, schema = prepare.prepare(table, params())
    reasons = {column.name: column.reason for column in schema.left_out}
    assert set(reasons) == {"row", "constant"}
    assert reasons["constant"] == "constant: 1"
    assert reasons["row"].startswith("identifier")


def test_the_number_of_cores_does_not_change_the_model(table: pd.DataFrame, params: Make, tmp_path: Path) -> None:
    rows, _, schema = prepare.prepare(table, params())
    for name, cores in (("one", 1), ("two", 2)):
        with joblib.parallel_config(n_jobs=cores):
            joblib.dump(train.train(rows, schema.contract, params()), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_export_is_the_same_bytes_twice(table: pd.DataFrame, params: Make) -> None:
    rows, _, schema = prepare.prepare(table, params())
    pipeline = train.train(rows, schema.contract, params())
    assert export.export(pipeline, schema.contract) == export.export(pipeline, schema.contract)


def test_one_row_is_answered_as_in_a_batch_to_the_last_digit(table: pd.DataFrame, params: Make, tmp_path: Path) -> None:
    rows, test, schema = prepare.prepare(table, params())
    (tmp_path / "m.onnx").write_bytes(export.export(train.train(rows, schema.contract, params()), schema.contract))
    served = service.model.load(tmp_path / "m.onnx")
    matrix = served.contract.encode(test)
    alone = np.vstack([served.scores(matrix[row : row + 1]) for row in range(len(test))])
    np.testing.assert_array_equal(alone, served.scores(matrix))


def test_rows_without_a_target_are_dropped_and_counted(table: pd.DataFrame, params: Make) -> None:
    table.loc[:4, "y"] = None
    _, _, schema = prepare.prepare(table, params())
    assert schema.rows.without_target == 5
    assert schema.rows.train + schema.rows.test == len(table) - 5


@pytest.mark.parametrize(
    ("value", "expected"),
    [(["yes"] * 200, "one class"), (["a"] * 199 + ["b"], "a class with one row: 'b'")],
)
def test_a_target_that_cannot_be_learnt_is_refused(
    table: pd.DataFrame, params: Make, value: list[str], expected: str
) -> None:
    table["y"] = value
    with pytest.raises(UserError, match=expected):
        prepare.prepare(table, params())


def test_a_split_by_time_tests_on_the_latest_rows(table: pd.DataFrame, params: Make) -> None:
    split = {"method": "time", "test_size": 0.25, "time_column": "when", "group_column": None}
    dated = table.dropna(subset=["when"])
    _, _, schema = prepare.prepare(dated, params(split=split))
    assert str(schema.split.train_to) < str(schema.split.test_from)


def test_no_group_is_on_both_sides_of_a_split_by_group(table: pd.DataFrame, params: Make) -> None:
    table["team"] = [f"t{row % 10}" for row in range(len(table))]
    split = {"method": "group", "test_size": 0.3, "time_column": None, "group_column": "team"}
    rows, test, _ = prepare.prepare(table, params(split=split))
    assert not set(rows["team"]) & set(test["team"])
