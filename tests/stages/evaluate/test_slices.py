"""Where the model does badly: slices of any column, named only when chance does not explain them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score

from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, Feature, NumberFeature
from stages.evaluate import cuts
from stages.evaluate import slices as _slices
from stages.scores.metrics import Classified, Predicted
from stages.scores.units import FEWEST, Units

CATEGORY = CategoryFeature(name="c", nullable=True, categories=("a", "b"), bin_shares=(0.5, 0.5, 0.0))
NUMBER = NumberFeature(
    name="n", nullable=True, minimum=0, maximum=100, bin_edges=(10.0, 20.5), bin_shares=(0.4, 0.3, 0.3, 0.0)
)
FLAG = BooleanFeature(name="f", nullable=True, bin_shares=(0.5, 0.5, 0.0))
DATE = DateFeature(
    name="d",
    nullable=True,
    minimum="2020-01-01",
    maximum="2021-01-01",
    parts=("days",),
    bin_edges=(),
    bin_shares=(1.0,),
)


def contract(*features: Feature) -> Contract:
    return Contract(task="regression", target="y", classes=(), features=features)


def binary(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> Classified:
    probabilities = np.stack([scores, 1 - scores], axis=1)
    return Classified(("yes", "no"), 0, np.where(positive, 0, 1), probabilities, np.where(scores > 0.5, 0, 1))


def slices(outcome: Classified | Predicted, about: Contract, rows: pd.DataFrame) -> pd.DataFrame:
    return _slices.compute_slices(outcome, about, rows, Units("row", np.arange(len(rows))))


def names(feature: Feature, values: Any, dtype: Any = None) -> list[str]:
    codes, named = cuts.cut(feature, pd.Series(values, dtype=dtype))
    return [named[code] for code in codes]


def test_categories_keep_their_names_and_missing_ones_have_their_own() -> None:
    assert names(CATEGORY, ["b", "a", None, "unseen"]) == ["b", "a", cuts.MISSING, "unseen"]


def test_flags_are_false_true_or_missing() -> None:
    assert names(FLAG, [1.0, 0.0, np.nan], "float32") == ["true", "false", cuts.MISSING]


def test_few_different_numbers_are_named_as_they_are_written() -> None:
    assert names(NUMBER, [1, 0.1, 12, np.nan], "float32") == ["1", "0.1", "12", cuts.MISSING]


def test_many_different_numbers_fall_into_the_bins_of_training() -> None:
    values = [*range(15), 20.5, 21, np.nan]
    assert names(NUMBER, values, "float32")[9:] == [
        *["up to 10"] * 2,
        *["above 10 to 20.5"] * 5,
        "above 20.5",
        cuts.MISSING,
    ]


def test_dates_are_cut_by_month_and_long_spans_by_year() -> None:
    assert names(DATE, np.array(["2020-02-03", "NaT"], "datetime64[us]")) == ["2020-02", cuts.MISSING]
    assert set(names(DATE, pd.date_range("2018-01-01", "2020-12-31", freq="D"))) == {"2018", "2019", "2020"}


def test_the_rarest_of_many_categories_are_counted_together() -> None:
    values = [f"v{i}" for i in range(30) for _ in range(30 - i)]
    found = names(CATEGORY, values)
    assert len(set(found)) == 21
    assert found.count("(10 others)") == sum(range(1, 11))


@settings(max_examples=30)
@given(codes=arrays.arrays(np.int64, 60, elements=st.integers(-1, 40)))
def test_every_row_is_in_exactly_one_slice(codes: npt.NDArray[np.int64]) -> None:
    values = pd.Series([None if code < 0 else f"v{code}" for code in codes], dtype=object)
    outcome = Predicted(np.zeros(60), np.ones(60))
    table = slices(outcome, contract(CATEGORY), values.to_frame("c"))
    assert table["rows"].sum() == 60
    assert (table["rows"] > 0).all()


@settings(max_examples=15)
@given(seed=st.integers(0, 1000))
def test_the_area_of_each_slice_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 20, 120) / 20, rng.random(120) > 0.5
    column = np.repeat(["a", "b"], 60)
    table = slices(binary(scores, positive), contract(CATEGORY), pd.DataFrame({"c": column}))
    for value, found in zip(table["value"], table["roc_auc"], strict=True):
        part = column == value
        assert found == pytest.approx(roc_auc_score(positive[part], scores[part]), rel=1e-5)


def regression(rows: int, bad: int, noise: float = 3.0) -> tuple[Predicted, pd.DataFrame]:
    """Return errors of about 1, and of about `noise` in the first `bad` rows, which are the category a."""
    rng = np.random.default_rng(0)
    errors = rng.normal(size=rows) * np.where(np.arange(rows) < bad, noise, 1.0)
    return Predicted(np.zeros(rows), errors), pd.DataFrame({"c": np.where(np.arange(rows) < bad, "a", "b")})


def test_a_slice_with_large_errors_is_named() -> None:
    outcome, rows = regression(500, 100)
    table = slices(outcome, contract(CATEGORY), rows)
    assert _slices.worst(table)["value"].tolist() == ["a"]
    assert _slices.describe_worst(table)[0].startswith("worse where c is a: mean_absolute_error 2.")


def test_a_slice_of_fewer_than_the_minimum_of_rows_is_counted_and_never_named() -> None:
    for bad, named in ((_slices.MIN_ROWS - 1, False), (_slices.MIN_ROWS, True)):
        outcome, rows = regression(500, bad, noise=20)
        table = slices(outcome, contract(CATEGORY), rows)
        assert table.set_index("value").loc["a", "rows"] == bad
        assert bool(table["worse"].any()) is named


def test_noise_alone_is_seldom_named() -> None:
    named = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        features = [CATEGORY.model_copy(update={"name": f"c{i}"}) for i in range(20)]
        rows = pd.DataFrame({feature.name: rng.choice([*"abcde"], 600) for feature in features})
        positive = rng.random(600) > 0.7
        scores = np.clip(rng.normal(0.4, 0.1, 600) + 0.05 * positive, 0, 1)
        named += len(_slices.worst(slices(binary(scores, positive), contract(*features), rows)))
    assert named <= 1  # of 1,000 slices


def test_a_slice_with_few_members_of_a_class_has_no_area() -> None:
    positive = np.arange(200) < 9
    table = slices(binary(np.linspace(0.9, 0.1, 200), positive), contract(CATEGORY), pd.DataFrame({"c": ["a"] * 200}))
    assert table["roc_auc"].isna().all()
    assert not table["worse"].any()


@pytest.mark.parametrize("right", [True, False])
def test_shares_of_zero_and_one_are_not_certain(right: bool) -> None:
    truth = np.zeros(40, dtype=int)
    predicted = truth if right else truth + 1
    outcome = Classified((1, 2, 3), None, truth, np.eye(3)[predicted], predicted)
    table = slices(outcome, contract(CATEGORY), pd.DataFrame({"c": ["a"] * 40}))
    low, high = table[["accuracy_low", "accuracy_high"]].to_numpy(float)[0]
    assert high - low > 0.05
    assert 0 <= low <= high <= 1


def test_the_same_rows_are_named_once() -> None:
    outcome, rows = regression(500, 100)
    twin = CATEGORY.model_copy(update={"name": "twin"})
    table = slices(outcome, contract(CATEGORY, twin), rows.assign(twin=rows["c"]))
    assert table["worse"].sum() == 2
    assert len(_slices.worst(table)) == 1


def grouped(seed: int, worse: float = 0.0) -> tuple[Predicted, pd.DataFrame, Units]:
    """Return errors that are similar within 60 groups of 20 rows, and a column that is the same in a group."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), 20)
    column = groups % 2 == 0
    errors = np.abs(rng.normal(size=60))[groups] + 0.1 * rng.random(1200) + worse * column
    return Predicted(np.zeros(1200), errors), pd.DataFrame({"c": np.where(column, "a", "b")}), Units("group", groups)


def test_groups_that_happen_to_be_worse_are_not_worse_beyond_chance() -> None:
    by_row, by_group = 0, 0
    for seed in range(20):
        outcome, rows, units = grouped(seed)
        by_row += bool(slices(outcome, contract(CATEGORY), rows)["worse"].any())
        by_group += bool(_slices.compute_slices(outcome, contract(CATEGORY), rows, units)["worse"].any())
    assert by_group <= 2
    assert by_row > 5


def test_groups_that_are_worse_are_named_with_their_number() -> None:
    outcome, rows, units = grouped(0, worse=2.0)
    table = _slices.compute_slices(outcome, contract(CATEGORY), rows, units)
    assert _slices.worst(table)[["value", "rows", "units"]].to_numpy().tolist() == [["a", 600, 30]]


@pytest.mark.parametrize("count", [FEWEST - 1, FEWEST])
def test_a_slice_of_few_groups_has_no_interval_and_is_not_called_worse(count: int) -> None:
    groups = np.repeat(np.arange(60), 20)
    bad = groups < count
    outcome = Predicted(np.zeros(1200), np.where(bad, 9.0, 1.0) + np.random.default_rng(0).random(1200))
    rows = pd.DataFrame({"c": np.where(bad, "a", "b")})
    table = _slices.compute_slices(outcome, contract(CATEGORY), rows, Units("group", groups)).set_index("value")
    assert bool(table.loc["a", "worse"]) is (count == FEWEST)
    assert bool(table[f"{_slices.ERROR}_low"].isna()["a"]) is (count < FEWEST)
