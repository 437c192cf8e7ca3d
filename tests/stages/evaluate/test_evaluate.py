"""The exported file is scored as it is served, beside no model at all, whatever the rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

import service.model
from stages.errors import UserError
from stages.estimators import out_of_fold
from stages.estimators.calibration import calibrate
from stages.evaluate import __main__ as evaluate
from stages.evaluate.calibration import metrics_before, read_calibration
from stages.evaluate.plots import uncalibrated_curves
from stages.export import __main__ as export
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.scores.metrics import Classified
from stages.scores.units import units_of
from stages.train import __main__ as train

Served = tuple[service.model.Model, pd.Series, pd.DataFrame, Params]
Make = Callable[..., Served]


@pytest.fixture
def served(params: Callable[..., Params]) -> Make:
    """Return a function that fits a table: the served model, the training target, the test rows, the params."""

    def fit(table: pd.DataFrame, **changes: Any) -> Served:
        wanted = params(**({"evaluate": {"threshold": 0.5, "folds": 0}, "n_estimators": 5} | changes))
        rows, test, schema = prepare.prepare(table, wanted)
        content = export.export(train.train(rows, schema.contract, wanted), schema.contract)
        return service.model.from_bytes(content, "m.onnx"), rows["y"], test, wanted

    return fit


TARGETS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "binary": lambda table: table["y"],
    "multiclass": lambda table: table["1.x"],
    "regression": lambda table: table["le"] * 10,
}
MAIN = {"binary": "roc_auc", "multiclass": "roc_auc", "regression": "r2"}


@pytest.mark.parametrize("task", TARGETS)
def test_every_figure_is_finite_and_has_its_bounds_and_its_baseline(
    table: pd.DataFrame, served: Make, task: str
) -> None:
    found, _ = evaluate.evaluate(*served(table.assign(y=TARGETS[task](table))))
    plain = {name for name in found if f"baseline_{name}" in found}
    assert MAIN[task] in plain
    assert {f"{name}_{side}" for name in plain for side in ("low", "high")} <= set(found)
    assert np.isfinite(list(found.values())).all()


def test_the_figures_are_of_what_the_service_would_answer(table: pd.DataFrame, served: Make) -> None:
    model, target, rows, wanted = served(table)
    found, _ = evaluate.evaluate(model, target, rows, wanted)
    scores = model.scores(model.contract.encode(rows))
    positive = model.contract.classes.index(model.contract.positive)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(rows["y"], model.labels(scores, 0.5)))
    area = metrics.roc_auc_score(rows["y"] == model.contract.positive, scores[:, positive])
    assert found["roc_auc"] == pytest.approx(area, abs=1e-6)


def test_the_baseline_is_the_most_frequent_class_of_training(table: pd.DataFrame, served: Make) -> None:
    model, target, rows, wanted = served(table)
    found, _ = evaluate.evaluate(model, target, rows, wanted)
    assert found["baseline_accuracy"] == pytest.approx((rows["y"] == target.mode()[0]).mean())
    assert found["baseline_roc_auc"] == 0.5


def test_the_baseline_of_values_is_the_mean_of_training(table: pd.DataFrame, served: Make) -> None:
    model, target, rows, wanted = served(table.assign(y=table["le"] * 10))
    found, _ = evaluate.evaluate(model, target, rows, wanted)
    expected = metrics.mean_absolute_error(rows["y"], np.full(len(rows), target.mean()))
    assert found["baseline_mean_absolute_error"] == pytest.approx(expected, rel=1e-6)


def with_threshold(wanted: Params, threshold: float) -> Params:
    changed = wanted.evaluate.model_copy(update={"threshold": threshold})
    return wanted.model_copy(update={"evaluate": changed})


def test_a_lower_threshold_says_positive_more_often(table: pd.DataFrame, served: Make) -> None:
    given = served(table)
    model, target, rows, wanted = given
    found = {
        threshold: evaluate.evaluate(model, target, rows, with_threshold(wanted, threshold))[0]
        for threshold in (0.0, 1.0)
    }
    positive = (given[2]["y"] == given[0].contract.positive).mean()
    assert found[0.0]["threshold"] == 0.0
    assert found[1.0]["accuracy"] == pytest.approx(1 - positive)
    assert found[0.0]["roc_auc"] == found[1.0]["roc_auc"]


def test_test_rows_of_one_class_are_scored_without_an_area(table: pd.DataFrame, served: Make) -> None:
    model, target, rows, wanted = served(table)
    found, tables = evaluate.evaluate(model, target, rows[rows["y"] == "да"], wanted)
    assert "roc_auc" not in found
    assert 0 <= found["accuracy"] <= 1
    assert tables.plots["roc"].empty


@pytest.mark.parametrize("task", TARGETS)
def test_six_rows_are_scored(table: pd.DataFrame, served: Make, task: str) -> None:
    model, target, rows, wanted = served(table.assign(y=TARGETS[task](table)))
    found, tables = evaluate.evaluate(model, target, rows.head(6), wanted)
    assert np.isfinite(list(found.values())).all()
    assert tables.slices["rows"].sum() == 6 * len(model.contract.features)


def test_predictions_that_are_not_finite_are_refused_with_the_row(table: pd.DataFrame, served: Make) -> None:
    model, target, rows, wanted = served(table.assign(y=table["le"] * 10), model="ridge")
    rows = rows.astype({"le": "float64"})
    rows.loc[rows.index[3], "le"] = np.inf
    with pytest.raises(UserError, match="test row 3: the prediction is"):
        evaluate.evaluate(model, target, rows, wanted)


def test_equal_rows_give_equal_figures_and_tables(table: pd.DataFrame, served: Make) -> None:
    given = served(table)
    first, second = (evaluate.evaluate(*given) for _ in range(2))
    assert first[0] == second[0]
    assert first[1].slices.equals(second[1].slices)
    assert first[1].importance.equals(second[1].importance)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_a_calibrated_file_is_scored_before_and_after(
    table: pd.DataFrame, params: Callable[..., Params], method: str
) -> None:
    wanted = params(model="logistic_regression", calibration=method, evaluate={"threshold": "auto", "folds": 3})
    rows, test, schema = prepare.prepare(table, wanted)
    fitted = train.train(rows, schema.contract, wanted)
    pipeline = calibrate(
        fitted, rows, schema.contract, out_of_fold.predict(rows, schema.contract, schema.split, wanted), wanted
    )
    calibration = read_calibration(export.export(pipeline, schema.contract))
    assert calibration is not None
    before = calibration.outcome_before(schema.contract, test)
    assert isinstance(before, Classified)
    assert before.probabilities == pytest.approx(fitted.predict_proba(test), abs=1e-9)
    after = calibration.apply(before)
    assert isinstance(after, Classified)
    assert after.probabilities == pytest.approx(pipeline.predict_proba(test), abs=1e-6)
    found = metrics_before(before, units_of(schema.split, test))
    assert found["uncalibrated_log_loss"] == pytest.approx(metrics.log_loss(test["y"], fitted.predict_proba(test)))
    assert set(found) >= {"uncalibrated_expected_calibration_error", "uncalibrated_brier_score"}
    assert set(uncalibrated_curves(before)["class"]) == {"да, uncalibrated"}


def test_a_file_without_calibration_has_none(table: pd.DataFrame, params: Callable[..., Params]) -> None:
    rows, _, schema = prepare.prepare(table, params())
    assert read_calibration(export.export(train.train(rows, schema.contract, params()), schema.contract)) is None
