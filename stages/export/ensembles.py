"""Write trees as one ONNX node, with an array for each attribute.

If each tree adds to one target, the node is ai.onnx.ml 5's TreeEnsemble, which lists splits and
leaves separately; else ai.onnx.ml 3's TreeEnsembleRegressor, whose leaves have several weights.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from stages.errors import UserError
from stages.export.trees import Double, Ensemble, Ints, Tree

_FILE_LIMIT = 2**31 - 2**24
"""Protobuf cannot write a message of 2 GB; 16 MB are for the rest of the file."""
_SUM = 1
_LESS_OR_EQUAL, _MEMBER = 0, 6
"""How a node compares: a number with its threshold, or a code with its set."""
_COMPACT, _WIDE = (31, 10), (51, 23)
"""The most bytes of a node and of a leaf's weight in the file."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An ONNX operator with its domain's version and its attributes."""

    kind: str
    opset: int
    attributes: Iterator[onnx.AttributeProto]
    """An iterator, because each is a list as long as the model has nodes."""


def operator(ensemble: Ensemble) -> Operator:
    """Return the operator that sums the trees, without the ensemble's base; shape (rows, targets).

    Input and output are doubles, or float32 if the ensemble is `single`.

    Raises UserError if it doesn't fit into one file.
    """
    if all(tree.values.shape[1] == 1 for tree in ensemble.trees):
        _check_size(ensemble, _COMPACT)
        return Operator("TreeEnsemble", 5, _compact(ensemble))
    return wide_operator(ensemble)


def wide_operator(ensemble: Ensemble) -> Operator:
    """Return the older operator, whose leaves may have several weights; it sums doubles and has no sets."""
    _check_size(ensemble, _WIDE)
    return Operator("TreeEnsembleRegressor", 3, _wide(ensemble))


@dataclass(frozen=True, slots=True)
class _Places:
    """The positions of a tree's nodes in the lists of all splits and all leaves."""

    splits: Ints
    """The tree's splitting nodes, in order; for a tree without any, its only leaf."""
    place: Ints
    """Each node's position among all splits, or among all leaves; shape (nodes,)."""


def _find_places(trees: list[Tree]) -> Iterator[_Places]:
    splits = leaves = 0
    for tree in trees:
        leaf = tree.is_leaf
        inner = np.flatnonzero(~leaf)
        place = np.where(leaf, np.cumsum(leaf) - 1 + leaves, np.cumsum(~leaf) - 1 + splits)
        yield _Places(inner if len(inner) else np.zeros(1, dtype=np.int64), place)
        splits, leaves = splits + max(len(inner), 1), leaves + int(leaf.sum())


def _compact(ensemble: Ensemble) -> Iterator[onnx.AttributeProto]:
    trees = ensemble.trees
    places = list(_find_places(trees))
    pairs = list(zip(trees, places, strict=True))

    def children(side: str) -> Iterator[onnx.AttributeProto]:
        # A single leaf has no children (-1), so both sides lead to the leaf.
        taken = [np.maximum((tree.left if side == "true" else tree.right)[at.splits], 0) for tree, at in pairs]
        leafs = [tree.is_leaf[child] for (tree, _), child in zip(pairs, taken, strict=True)]
        ids = [at.place[child] for (_, at), child in zip(pairs, taken, strict=True)]
        yield _ints(f"nodes_{side}leafs", np.concatenate(leafs))
        yield _ints(f"nodes_{side}nodeids", np.concatenate(ids))

    features = np.concatenate([np.maximum(tree.feature[at.splits], 0) for tree, at in pairs])
    sizes = [len(at.splits) for at in places]
    weights = [tree.values[tree.is_leaf, 0] for tree in trees]
    targets = np.repeat([tree.first_target for tree in trees], [len(each) for each in weights])
    yield helper.make_attribute("n_targets", len(ensemble.base))
    yield helper.make_attribute("aggregate_function", _SUM)
    yield helper.make_attribute("post_transform", 0)
    yield _ints("tree_roots", np.cumsum([0, *sizes[:-1]]))
    yield _ints("nodes_featureids", features)
    kind = np.float32 if ensemble.single else np.float64
    sets = [tree.members.get(node) for tree, at in pairs for node in at.splits.tolist()]
    modes = np.array([_LESS_OR_EQUAL if members is None else _MEMBER for members in sets], dtype=np.uint8)
    yield _tensor("nodes_modes", modes)
    if modes.any():
        parts = [np.append(members, np.nan) for members in sets if members is not None]
        yield _tensor("membership_values", np.concatenate(parts).astype(kind))
    yield _tensor("nodes_splits", np.concatenate([tree.threshold[at.splits] for tree, at in pairs]).astype(kind))
    yield from children("true")
    yield from children("false")
    if any(tree.missing_left.any() for tree in trees):
        missing = np.concatenate([tree.missing_left[at.splits] for tree, at in pairs])
        yield _ints("nodes_missing_value_tracks_true", missing)
    yield _ints("leaf_targetids", targets)
    yield _tensor("leaf_weights", np.concatenate(weights).astype(kind))


def _wide(ensemble: Ensemble) -> Iterator[onnx.AttributeProto]:
    trees = ensemble.trees
    sizes = [len(tree.left) for tree in trees]
    leaf = np.concatenate([tree.is_leaf for tree in trees])

    def of_nodes(arrays: Iterable[npt.NDArray[Any]]) -> Ints:
        return np.where(leaf, 0, np.concatenate(list(arrays))).astype(np.int64)

    yield helper.make_attribute("n_targets", len(ensemble.base))
    yield helper.make_attribute("aggregate_function", "SUM")
    yield helper.make_attribute("post_transform", "NONE")
    yield _ints("nodes_treeids", np.repeat(np.arange(len(trees)), sizes))
    yield _ints("nodes_nodeids", np.concatenate([np.arange(size) for size in sizes]))
    yield _texts("nodes_modes", np.where(leaf, b"LEAF", b"BRANCH_LEQ"))
    yield _ints("nodes_featureids", of_nodes(tree.feature for tree in trees))
    yield _ints("nodes_truenodeids", of_nodes(tree.left for tree in trees))
    yield _ints("nodes_falsenodeids", of_nodes(tree.right for tree in trees))
    yield _ints("nodes_missing_value_tracks_true", of_nodes(tree.missing_left for tree in trees))
    yield _tensor("nodes_values_as_tensor", np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees])))
    weights = [_weights(tree) for tree in trees]
    yield _ints("target_treeids", np.repeat(np.arange(len(trees)), [len(nodes) for nodes, _, _ in weights]))
    yield _ints("target_nodeids", np.concatenate([nodes for nodes, _, _ in weights]))
    yield _ints("target_ids", np.concatenate([targets for _, targets, _ in weights]))
    yield _tensor("target_weights_as_tensor", np.concatenate([values for _, _, values in weights]))


def _weights(tree: Tree) -> tuple[Ints, Ints, Double]:
    """Return nodes, targets and weights of the leaves; weights of 0 are left out, but each leaf has one or more."""
    leaves = np.flatnonzero(tree.is_leaf)
    values = tree.values[leaves]
    kept = values != 0
    kept[~kept.any(axis=1), 0] = True
    rows, targets = np.nonzero(kept)
    return leaves[rows], targets + tree.first_target, values[rows, targets]


# `helper.make_attribute` checks the type of every item, which takes longer than everything else.


def _ints(name: str, values: npt.NDArray[Any]) -> onnx.AttributeProto:
    attribute = onnx.AttributeProto(name=name, type=onnx.AttributeProto.INTS)
    attribute.ints.extend(values.astype(np.int64).tolist())
    return attribute


def _texts(name: str, values: npt.NDArray[np.bytes_]) -> onnx.AttributeProto:
    attribute = onnx.AttributeProto(name=name, type=onnx.AttributeProto.STRINGS)
    attribute.strings.extend(values.tolist())
    return attribute


def _tensor(name: str, values: npt.NDArray[Any]) -> onnx.AttributeProto:
    return helper.make_attribute(name, numpy_helper.from_array(values))


def _check_size(ensemble: Ensemble, most: tuple[int, int]) -> None:
    weights = sum(int(np.count_nonzero(tree.values[tree.is_leaf])) for tree in ensemble.trees)
    size = ensemble.nodes * most[0] + weights * most[1]
    if size > _FILE_LIMIT:
        raise UserError(
            f"the model has {ensemble.nodes:,} nodes in {len(ensemble.trees):,} trees, about {size / 1e9:.1f} GB as "
            "ONNX, and a file holds 2 GB; lower n_estimators or max_depth, or raise min_samples_leaf, in params.yaml"
        )
