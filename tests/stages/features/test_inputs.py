"""What `prepare` adds for expressions, what it leaves alone, and what later stages make of it."""

from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from stages.evaluate.importance import compute_importance
from stages.export import parity
from stages.features.graph import estimator_columns
from stages.features.parts import cut
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from tests.stages.features.conftest import Fitted

MODELS = ["hist_gradient_boosting", "random_forest", "logistic_regression", "dummy", "lightgbm", "xgboost", "catboost"]


def test_without_features_nothing_changes(columns: pd.DataFrame, params: Callable[..., Params]) -> None:
    schema = prepare.prepare(columns, params(features={}))[2]

    assert schema.contract.version == 2
    assert not {"derived", "inputs_only"} & set(schema.contract.model_dump(mode="json"))


def test_dates_get_only_the_parts_that_expressions_use(fit: Callable[..., Fitted]) -> None:
    contract = fit({"day": "dayofyear(when)", "at": "hour(sent)"}).contract

    assert contract.version == 3
    assert contract.inputs_only == ("when.dayofyear",)


@pytest.mark.parametrize("name", ["µg", "e\N{COMBINING ACUTE ACCENT}t"])  # Python reads other characters
def test_a_name_has_the_characters_of_its_column(fit: Callable[..., Fitted], columns: pd.DataFrame, name: str) -> None:
    fitted = fit({"x": f"'é' == other and {name} > 0"}, columns.rename(columns={"u": name}))

    expected = (fitted.test["other"] == "é") & (fitted.test[name] > 0)
    np.testing.assert_array_equal(fitted.derived(fitted.test)["x"], expected)


def test_an_ignored_column_is_an_input_without_being_a_feature(
    fit: Callable[..., Fitted], columns: pd.DataFrame
) -> None:
    fitted = fit({"x": "u + 1"}, data={"ignore": ["u", "v"]})

    assert "u" in [feature.name for feature in fitted.contract.features]
    assert [column.name for column in estimator_columns(fitted.contract)][:2] == ["tiny", "class"]
    assert fitted.contract.left_out == ("v",)


def test_an_ignored_column_that_a_feature_uses_moves_no_row(
    columns: pd.DataFrame, params: Callable[..., Params]
) -> None:
    without, used = (
        prepare.prepare(table, params(data={"ignore": ["u"]}, features=features))
        for table, features in ((columns.drop(columns="u"), {}), (columns, {"x": "u + 1"}))
    )

    pd.testing.assert_series_equal(without[1]["v"], used[1]["v"])
    assert without[2].split == used[2].split


def test_a_constant_column_and_a_date_that_does_not_recur_can_be_inputs(
    fit: Callable[..., Fitted], columns: pd.DataFrame
) -> None:
    fitted = fit({"x": "u * factor"}, columns.assign(factor=2.0))

    assert fitted.contract.inputs_only == ("factor",)
    assert "factor" not in [column.name for column in fitted.schema.left_out]
    np.testing.assert_array_equal(fitted.derived(fitted.test)["x"], fitted.test["u"].to_numpy() * 2)


@pytest.mark.parametrize("model", MODELS)
def test_importance_has_inputs_and_derived_features(fit: Callable[..., Fitted], model: str) -> None:
    fitted = fit({"ruling": "u + 5 * where(missing(flag), 0, flag)"}, data={"ignore": ["u"]}, model=model)
    parts = cut(fitted.model, fitted.content)
    matrix = fitted.contract.encode(fitted.test)

    found = compute_importance(fitted.model, fitted.test, 0, parts).set_index("feature")["importance"]

    assert set(found.index) == {*(feature.name for feature in fitted.contract.features), "ruling"}
    if model == "dummy":
        assert found.abs().max() < 1e-9
    else:
        assert found["ruling"] > 10 * found["v"]
        assert found["u"] > 10 * found["v"]  # by way of the derived feature
    scores = fitted.model.scores(matrix)
    np.testing.assert_array_equal(parts.estimator.scores(parts.derive(matrix)), scores)
    assert parity.compare(fitted.pipeline, fitted.model, fitted.test, scores)[0] < 1e-6


def test_a_column_without_a_value_in_a_fold_is_zeros_in_the_fit_alone(fit: Callable[..., Fitted]) -> None:
    fitted = fit({"x": "sqrt(u)"})
    step, empty = fitted.pipeline["derive"], np.full((5, len(fitted.contract.columns)), np.nan, np.float32)

    assert not np.isnan(step.fit_transform(empty)).any()
    assert np.isnan(step.transform(empty)).all()


def test_the_pipeline_is_saved_without_its_session(fit: Callable[..., Fitted], tmp_path: Path) -> None:
    fitted = fit({"x": "u + 1"})
    for name in ("before", "after"):
        joblib.dump(fitted.pipeline, tmp_path / name)
        scores = fitted.pipeline.predict_proba(fitted.test)

    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()
    np.testing.assert_array_equal(joblib.load(tmp_path / "after").predict_proba(fitted.test), scores)
