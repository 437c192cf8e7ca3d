"""What of a tree goes into the file, and in which form."""

import numpy as np
from onnx import numpy_helper

from stages.export import ensembles
from stages.export.trees import Ensemble, Tree

# A root with two leaves; the values of three targets at each node.
TREE = Tree(
    feature=np.array([0, -2, -2]),
    threshold=np.array([0.5, -2, -2]),
    left=np.array([1, -1, -1]),
    right=np.array([2, -1, -1]),
    missing_left=np.array([False, False, False]),
    values=np.array([[9.0, 9.0, 9.0], [0.25, 0.0, 0.75], [0.0, 0.0, 0.0]]),
    first_target=0,
    rows=np.ones(3),
)


def test_of_several_targets_the_weights_that_are_not_zero_are_written() -> None:
    nodes, targets, weights = ensembles._weights(TREE)

    assert nodes[:2].tolist() == [1, 1]
    assert targets[:2].tolist() == [0, 2]
    assert weights[:2].tolist() == [0.25, 0.75]


def test_a_leaf_of_zeros_keeps_one_weight_so_that_no_list_is_empty() -> None:
    nodes, targets, weights = ensembles._weights(TREE)

    assert (nodes[2:].tolist(), targets[2:].tolist(), weights[2:].tolist()) == ([2], [0], [0.0])


def test_a_leaf_has_no_feature_no_threshold_and_no_children() -> None:
    ensemble = Ensemble([TREE], np.zeros(3), raw=False)

    written = {attribute.name: attribute for attribute in ensembles.operator(ensemble).attributes}

    assert list(written["nodes_modes"].strings) == [b"BRANCH_LEQ", b"LEAF", b"LEAF"]
    for name in ("nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids"):
        assert list(written[name].ints)[1:] == [0, 0]


STUMP = Tree(
    feature=np.array([1, -2, -2]),
    threshold=np.array([0.5, -2, -2]),
    left=np.array([1, -1, -1]),
    right=np.array([2, -1, -1]),
    missing_left=np.array([True, False, False]),
    values=np.array([[9.0], [0.25], [0.75]]),
    first_target=0,
    rows=np.ones(3),
)
LEAF = Tree(
    feature=np.array([-2]),
    threshold=np.array([-2.0]),
    left=np.array([-1]),
    right=np.array([-1]),
    missing_left=np.array([False]),
    values=np.array([[0.5]]),
    first_target=0,
    rows=np.ones(1),
)


def written(*trees: Tree) -> dict[str, list[float]]:
    found = ensembles.operator(Ensemble(list(trees), np.zeros(1), raw=True))
    assert found.kind == "TreeEnsemble"
    values = {each.name: each for each in found.attributes}
    return {
        name: list(each.ints) if each.ints else numpy_helper.to_array(each.t).tolist()
        for name, each in values.items()
        if each.ints or each.HasField("t")
    }


def test_trees_of_one_target_are_written_as_splits_and_leaves() -> None:
    found = written(STUMP, STUMP)

    assert found["nodes_splits"] == [0.5, 0.5]
    assert found["nodes_featureids"] == [1, 1]
    assert found["leaf_weights"] == [0.25, 0.75, 0.25, 0.75]
    assert found["nodes_truenodeids"] == [0, 2]
    assert found["nodes_falsenodeids"] == [1, 3]
    assert found["tree_roots"] == [0, 1]


def test_where_missing_values_go_is_written_if_any_go_to_the_left() -> None:
    assert written(STUMP)["nodes_missing_value_tracks_true"] == [1]
    assert "nodes_missing_value_tracks_true" not in written(LEAF)


def test_a_tree_of_one_leaf_leads_to_it_both_ways() -> None:
    found = written(STUMP, LEAF)

    assert (found["nodes_truenodeids"][1], found["nodes_falsenodeids"][1]) == (2, 2)
    assert (found["nodes_trueleafs"][1], found["nodes_falseleafs"][1]) == (1, 1)


def test_trees_that_add_to_several_targets_keep_the_older_form() -> None:
    assert ensembles.operator(Ensemble([TREE], np.zeros(3), raw=False)).kind == "TreeEnsembleRegressor"
