"""The arrays of fitted trees, the same for every scikit-learn model."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

Ints = npt.NDArray[np.int64]
Double = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tree:
    """The nodes of one tree, each array of shape (nodes,), with the values that its leaves add to the targets."""

    feature: Ints
    threshold: Double
    """A value of at most this goes to the left."""
    left: Ints
    """-1 for a leaf."""
    right: Ints
    missing_left: npt.NDArray[np.bool_]
    values: Double
    """Shape (nodes, targets)."""
    first_target: int
    rows: Double
    """How many training rows pass each node, or their weight; shape (nodes,)."""
    members: dict[int, Ints] = field(default_factory=dict)
    """By node, the codes of categories that go to the left; such a node has no threshold."""

    @property
    def is_leaf(self) -> npt.NDArray[np.bool_]:
        """Shape (nodes,)."""
        leaf: npt.NDArray[np.bool_] = self.left < 0
        return leaf


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees whose leaves are added to `base`."""

    trees: list[Tree]
    base: Double
    """Shape (targets,)."""
    raw: bool
    """True if the sum is a score before the sigmoid or softmax, or a value in double precision."""
    single: bool = False
    """True if the library sums in single precision, tree after tree."""

    @property
    def nodes(self) -> int:
        """The number of nodes of all trees."""
        return sum(len(tree.left) for tree in self.trees)


def extract(estimator: Any, columns: int, *, with_missing: bool = False) -> Ensemble:
    """Return the trees of a fitted forest or boosting model with `columns` input columns.

    Set `with_missing` if forests and trees get missing values; this project's own forests don't.
    """
    match estimator:
        case HistGradientBoostingClassifier() | HistGradientBoostingRegressor():
            base = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001  # nowhere public
            rounds = estimator._predictors  # noqa: SLF001
            trees = [_hist_tree(each.nodes, target) for trees in rounds for target, each in enumerate(trees)]
            return Ensemble(trees, base, raw=True)
        case GradientBoostingClassifier() | GradientBoostingRegressor():
            # It is the same for every row, because `init_` is a dummy.
            base = estimator._raw_predict_init(np.zeros((1, columns), np.float32)).reshape(-1)  # noqa: SLF001
            rate = estimator.learning_rate
            trees = [
                _tree(each.tree_, rate, target) for trees in estimator.estimators_ for target, each in enumerate(trees)
            ]
            return Ensemble(trees, base, raw=True)
        case _:
            grown = getattr(estimator, "estimators_", [estimator])  # a forest, or a single tree
            trees = [_tree(each.tree_, 1 / len(grown), 0, with_missing=with_missing) for each in grown]
            return Ensemble(trees, np.zeros(trees[0].values.shape[1]), raw=False)


def split_targets(ensemble: Ensemble) -> Ensemble:
    """Return the ensemble with a tree for each target in place of one for several."""
    split = [
        replace(tree, values=tree.values[:, [target]], first_target=tree.first_target + target)
        for tree in ensemble.trees
        for target in range(tree.values.shape[1])
    ]
    return replace(ensemble, trees=split)


def _tree(tree: Any, factor: float, target: int, *, with_missing: bool = False) -> Tree:
    to_left = tree.__getstate__()["nodes"]["missing_go_to_left"].astype(bool)
    return Tree(
        feature=tree.feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=to_left & (tree.children_left >= 0) & with_missing,
        values=_drop_first_of_two(tree.value.reshape(tree.node_count, -1)) * factor,
        first_target=target,
        rows=tree.weighted_n_node_samples,
    )


def _drop_first_of_two(values: Double) -> Double:
    """Return only the second class's shares if there are two; the first's are 1 minus these."""
    return values[:, 1:] if values.shape[1] == 2 else values  # noqa: PLR2004


def _hist_tree(nodes: Any, target: int) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"].astype(np.float64).reshape(-1, 1),
        first_target=target,
        rows=nodes["count"].astype(np.float64),
    )
