"""Each split leads most rows to the child that ONNX Runtime stores behind it, and every row to the same leaf."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from stages.export import trees
from stages.export.branches import order_branches
from stages.export.trees import Ensemble, Tree

ROWS = 400
SPLIT = Tree(
    feature=np.array([0, -2, -2]),
    threshold=np.array([0.5, -2, -2]),
    left=np.array([1, -1, -1]),
    right=np.array([2, -1, -1]),
    missing_left=np.array([True, False, False]),
    values=np.array([[9.0], [1.0], [2.0]]),
    first_target=0,
    rows=np.array([10.0, 7.0, 3.0]),
)


def leaf_of(tree: Tree, row: npt.NDArray[np.float64]) -> float:
    """Return the value of the leaf that the row reaches."""
    node = 0
    while tree.left[node] >= 0:
        number = row[tree.feature[node]]
        to_left = tree.missing_left[node] if np.isnan(number) else number <= tree.threshold[node]
        node = int(tree.left[node] if to_left else tree.right[node])
    return float(tree.values[node, 0])


def fitted(model: str) -> tuple[Ensemble, bool]:
    rng = np.random.default_rng(0)
    features = rng.choice([-1e-300, -0.0, 0.0, 1e-45, 1.0, 3.0], (ROWS, 3)) * rng.choice([1.0, 1.0, -2.5], (ROWS, 3))
    target = features.sum(axis=1) + (features[:, 0] > 0) + rng.normal(size=ROWS)
    estimator: Any = RandomForestRegressor(5, max_depth=6, random_state=0)
    if model == "with missing values":
        features[rng.random((ROWS, 3)) < 0.3] = np.nan
        estimator = HistGradientBoostingRegressor(max_iter=5, random_state=0)
    return trees.extract(estimator.fit(features, target), 3), model == "with missing values"


@pytest.mark.parametrize("model", ["without missing values", "with missing values"])
def test_every_row_reaches_the_same_leaf(model: str) -> None:
    before, with_missing = fitted(model)
    after = order_branches(before, 3, with_missing=with_missing)
    borders = np.unique(np.concatenate([tree.threshold for tree in before.trees]))
    near = [borders, np.nextafter(borders, np.inf), np.nextafter(borders, -np.inf)]
    edges = [0.0, -0.0, 5e-324, -5e-324, 1e30, -1e30, np.finfo(np.float64).max, np.inf, -np.inf]
    values = np.concatenate([*near, edges, [np.nan] * 40 * with_missing])

    for row in np.random.default_rng(1).choice(values, (2000, 3)):
        for old, new in zip(before.trees, after.trees, strict=True):
            assert leaf_of(new, np.append(row, -row)) == leaf_of(old, row)


@pytest.mark.parametrize("model", ["without missing values", "with missing values"])
def test_the_second_child_of_each_split_has_most_rows(model: str) -> None:
    before, with_missing = fitted(model)

    for tree in order_branches(before, 3, with_missing=with_missing).trees:
        splits = ~tree.is_leaf & np.isfinite(tree.threshold)
        assert (tree.rows[tree.right] >= tree.rows[tree.left])[splits].all()


def test_a_split_of_most_rows_to_the_left_reads_the_negative_column() -> None:
    turned = order_branches(Ensemble([SPLIT], np.zeros(1), raw=True), 4, with_missing=True).trees[0]

    assert (turned.feature[0], turned.threshold[0]) == (4, -np.nextafter(0.5, 1))
    assert (turned.left[0], turned.right[0], turned.missing_left[0]) == (2, 1, False)


@pytest.mark.parametrize("as_it_was", [{"members": {0: np.array([1, 2])}}, {"threshold": np.array([np.inf, -2, -2])}])
def test_a_split_by_category_or_only_by_missing_values_stays(as_it_was: dict[str, Any]) -> None:
    tree = replace(SPLIT, **as_it_was)

    stayed = order_branches(Ensemble([tree], np.zeros(1), raw=True), 4, with_missing=True).trees[0]

    assert (stayed.feature[0], stayed.left[0], stayed.right[0]) == (0, 1, 2)
