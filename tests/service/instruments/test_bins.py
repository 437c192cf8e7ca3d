"""The bins that drift is counted in."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bins import MOST_CATEGORIES, feature_bins
from service.contract import CategoryFeature, Contract, Feature
from service.inputs.layout import Layout
from service.instruments.bins import Bins
from stages.prepare.columns import find_features


def _contract(feature: Feature) -> Contract:
    return Contract(task="regression", target="y", classes=(), features=(feature,))


def _feature(values: object) -> Feature:
    column = pd.Series(values)
    (feature,), _ = find_features(pd.DataFrame({"x": column.astype("str") if column.dtype == object else column}), {})
    return feature


def _shares(feature: Feature, values: object) -> npt.NDArray[np.float64]:
    """Return the share of rows in each bin, counted as the service counts."""
    contract = _contract(feature)
    places = Bins(contract, Layout(contract)).places(contract.encode({"x": values}))
    counts: npt.NDArray[np.intp] = np.bincount(places[0], minlength=len(feature_bins(feature).names))
    shares: npt.NDArray[np.float64] = counts / places.shape[1]
    return shares


@given(st.lists(st.one_of(st.none(), st.floats(-1e30, 1e30), st.sampled_from([0.1, 0.3, 1 / 3])), min_size=2))
def test_training_rows_fall_into_the_bins_that_they_were_counted_in(values: list[float | None]) -> None:
    known = [each for each in values if each is not None]
    if len({*known}) < 2:
        return

    feature = _feature(pd.Series(values, dtype="float64"))

    assert _shares(feature, pd.Series(values, dtype="float64")) == pytest.approx(feature_bins(feature).shares)


@pytest.mark.parametrize("categories", [2, 20, 21, 200, 5000])
@pytest.mark.parametrize("power", [0, 1])
def test_categories_have_few_bins_that_hold_all_training_rows(categories: int, power: int) -> None:
    weights = np.arange(1, categories + 1.0) ** -power
    values = [f"k{each}" for each in np.random.default_rng(0).choice(categories, 30_000, p=weights / weights.sum())]
    feature = _feature(values)
    bins = feature_bins(feature)

    assert len({*bins.names}) == len(bins.names) <= MOST_CATEGORIES + 2
    assert sum(bins.shares) == pytest.approx(1)
    assert _shares(feature, values) == pytest.approx(bins.shares)


def test_rare_categories_are_counted_with_the_unseen_ones() -> None:
    feature = CategoryFeature(
        name="x", nullable=True, categories=("a", "b", "c"), bin_shares=(0.7, 0.01, 0.02, 0.1),
        unseen_share=0.17, rare_share=0.02,
    )  # fmt: skip

    assert feature_bins(feature).names == ("a", "missing", "unseen")
    assert feature_bins(feature).shares == pytest.approx((0.7, 0.1, 0.2))
    assert _shares(feature, ["a", "b", "c", "new", None]).tolist() == [0.2, 0.2, 0.6]


def test_a_category_named_as_a_bin_of_ours_gets_another_name() -> None:
    feature = CategoryFeature(
        name="x", nullable=True, categories=("missing", "missing_1", "unseen"), bin_shares=(0.5, 0.2, 0.2, 0.1)
    )

    assert feature_bins(feature).names == ("missing_1", "missing_1_1", "unseen_1", "missing", "unseen")


def test_an_artifact_without_an_unseen_share_expects_none() -> None:
    text = '{"type": "category", "name": "x", "nullable": false, "categories": ["a"], "bin_shares": [1, 0]}'

    assert feature_bins(CategoryFeature.model_validate_json(text)).shares == (1, 0, 0)
