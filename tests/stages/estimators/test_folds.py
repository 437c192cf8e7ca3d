"""Training rows are predicted by models that have not seen them, split as the test rows were."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from service.contract import Contract
from stages.estimators import fitting, folds, out_of_fold, splitting
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.schema import Schema, Split
from stages.scores.metrics import Classified, Outcome

RANDOM = Split(method="random", column=None)
TIME = Split(method="time", column="t")
GROUP = Split(method="group", column="g")
Prepared = tuple[pd.DataFrame, Schema, Params]
Make = Callable[..., Prepared]


def rare(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return a table whose positive class is rare, in groups and in the order of time."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    table = pd.DataFrame({"a": a, "b": rng.normal(size=rows), "g": rng.integers(0, 12, rows).astype(str)})
    table["t"] = pd.date_range("2020-01-01", periods=rows, freq="h")
    return table.assign(y=np.where(a + rng.normal(size=rows) > 1.8, "yes", "no"))


@pytest.fixture
def prepared(params: Callable[..., Params]) -> Make:
    """Return a function from a table to its rows, schema and params, of a logistic regression."""

    def make(table: pd.DataFrame, **changes: Any) -> Prepared:
        wanted = params(**({"model": "logistic_regression", "evaluate": {"threshold": 0.5, "folds": 5}} | changes))
        return table, prepare.prepare(table, wanted)[2], wanted

    return make


def predict_out_of_fold(rows: pd.DataFrame, contract: Contract, split: Split, wanted: Params) -> list[Outcome]:
    return out_of_fold.predict(rows, contract, split, wanted).outcomes(rows, contract)


def pairs(given: Prepared, split: Split, wanted: int = 5) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    rows, schema, _ = given
    found = splitting.folds(rows, schema.contract, split, wanted, 0)
    return [(rows.iloc[fitted], rows.iloc[held_out]) for fitted, held_out in found]


def test_by_time_every_fold_is_later_than_what_was_fitted(prepared: Make) -> None:
    found = pairs(prepared(rare().sample(frac=1, random_state=0)), TIME)
    assert len(found) == 5
    assert all(fitted["t"].max() < held_out["t"].min() for fitted, held_out in found)


def test_by_time_rows_of_one_moment_stay_together(prepared: Make) -> None:
    table = rare().assign(t=lambda rows: rows["t"].dt.floor("D"))
    found = pairs(prepared(table), TIME)
    assert len(found) >= 2
    assert all(fitted["t"].max() < held_out["t"].min() for fitted, held_out in found)


def test_by_group_no_group_is_on_both_sides(prepared: Make) -> None:
    found = pairs(prepared(rare()), GROUP)
    assert len(found) == 5
    assert not any(set(fitted["g"]) & set(held_out["g"]) for fitted, held_out in found)


def test_at_random_every_row_is_held_out_once_and_every_fold_has_both_classes(prepared: Make) -> None:
    found = pairs(prepared(rare()), RANDOM)
    assert sorted(place for _, held_out in found for place in held_out.index) == list(range(200))
    assert all(set(held_out["y"]) == {"yes", "no"} for _, held_out in found)


def test_at_random_rows_with_equal_features_stay_together(prepared: Make) -> None:
    rows, schema, wanted = prepared(rare())
    twice = pd.concat([rows, rows.assign(y="no")], ignore_index=True)
    found = pairs((twice, schema, wanted), RANDOM)
    assert len(found) == 5
    assert not any(set(fitted["a"]) & set(held_out["a"]) for fitted, held_out in found)


def test_rows_of_one_key_stay_together(prepared: Make) -> None:
    found = pairs(prepared(rare()), Split(method="random", column="g"))
    assert not any(set(fitted["g"]) & set(held_out["g"]) for fitted, held_out in found)


@pytest.mark.parametrize("split", [RANDOM, GROUP], ids=lambda each: each.method)
def test_one_member_of_a_class_allows_no_folds(prepared: Make, split: Split) -> None:
    rows, schema, wanted = prepared(rare())
    rows = rows.assign(y="no")
    rows.loc[0, "y"] = "yes"
    assert pairs((rows, schema, wanted), split) == []


def test_a_rare_class_of_several_does_not_stop_the_others(prepared: Make) -> None:
    rows, schema, wanted = prepared(rare().assign(y=lambda table: np.arange(len(table)) % 3))
    rows = rows.assign(y=np.r_[2, np.arange(199) % 2])
    found = predict_out_of_fold(rows, schema.contract, RANDOM, wanted)
    assert len(found) == 5
    assert folds.summarise(found, "multiclass")["cv_folds"] == 5


def test_one_group_allows_no_folds(prepared: Make) -> None:
    assert pairs(prepared(rare().assign(g="same")), GROUP) == []


def test_earliest_rows_of_one_class_are_passed_over(prepared: Make) -> None:
    table = rare().assign(t=lambda rows: rows["t"] + pd.to_timedelta((rows["y"] == "yes") * 90, "D"))
    rows, schema, wanted = prepared(table)
    assert folds.summarise(predict_out_of_fold(rows, schema.contract, TIME, wanted), "binary") == {}


@pytest.mark.parametrize("model", ["hist_gradient_boosting", "gradient_boosting"])
def test_each_fold_fits_what_the_train_stage_fits(prepared: Make, model: str) -> None:
    rows, schema, wanted = prepared(rare(), model=model, class_weight="balanced")
    found = predict_out_of_fold(rows, schema.contract, RANDOM, wanted)
    fitted, held_out = next(splitting.folds(rows, schema.contract, RANDOM, 5, wanted.random_state))
    pipeline = fitting.fit(rows.iloc[fitted], schema.contract, wanted)
    expected = pipeline.predict_proba(rows.iloc[held_out])
    outcome = found[0]
    assert isinstance(outcome, Classified)
    assert outcome.probabilities == pytest.approx(expected)


def test_the_score_is_the_mean_of_the_folds_areas_and_their_standard_deviation(prepared: Make) -> None:
    rows, schema, wanted = prepared(rare())
    found = predict_out_of_fold(rows, schema.contract, RANDOM, wanted)
    areas = [
        roc_auc_score(each.y_true == each.positive, each.probabilities[:, each.positive])
        for each in found
        if isinstance(each, Classified)
    ]
    assert folds.summarise(found, "binary") == pytest.approx(
        {"cv_roc_auc": np.mean(areas), "cv_roc_auc_std": np.std(areas, ddof=1), "cv_folds": 5}
    )


def test_auto_depends_on_the_number_of_all_training_rows(prepared: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.estimators.kinds.FULL_DEPTH_ROWS", 190)
    rows, schema, wanted = prepared(rare(), model="random_forest")
    depths = set()
    fit = fitting.fit

    def noted(*arguments: Any, **options: Any) -> Any:
        pipeline = fit(*arguments, **options)
        depths.add(pipeline["estimator"].max_depth)
        return pipeline

    monkeypatch.setattr(fitting, "fit", noted)
    predict_out_of_fold(rows, schema.contract, RANDOM, wanted)
    assert depths == {12}


def test_no_more_than_the_most_rows_take_part_and_the_seed_draws_them(
    prepared: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "MOST_ROWS", 100)
    rows, schema, wanted = prepared(rare())
    found = [predict_out_of_fold(rows, schema.contract, RANDOM, wanted) for _ in range(2)]
    assert sum(len(each.y_true) for each in found[0]) == 100
    assert folds.summarise(found[0], "binary") == folds.summarise(found[1], "binary")


@pytest.mark.parametrize("model", ["hist_gradient_boosting", "random_forest", "logistic_regression"])
def test_a_column_may_begin_after_the_rows_of_a_fold(prepared: Make, model: str) -> None:
    later = np.arange(300) > 150
    table = rare(300).assign(
        late=np.where(later, 1.5, np.nan), since=np.where(later, "2021-03-04", "NaT").astype("datetime64[us]")
    )
    given = prepared(table, model=model, n_estimators=2)

    found = predict_out_of_fold(table, given[1].contract, TIME, given[2])

    assert len(found) >= 4
