"""Write each split so that ONNX Runtime finds the child of most rows right behind it.

ONNX Runtime stores the child for which the comparison is false next to the split. If most rows go there, they read on
in the same part of the processor's cache, and the processor guesses each comparison's result more often.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.export.trees import Ensemble, Tree


def order_branches(ensemble: Ensemble, columns: int, *, with_missing: bool) -> Ensemble:
    """Return trees that read `columns` columns and then their negatives, and give the same sums.

    ``x <= t`` becomes ``-x <= -u``, with u as the next number above t, where most training rows have ``x <= t``.
    Set `with_missing` if there can be missing values.
    """
    kind = np.float32 if ensemble.single else np.float64
    trees = [_turn(tree, columns, kind, with_missing=with_missing) for tree in ensemble.trees]
    return replace(ensemble, trees=trees)


def _find_turned(tree: Tree) -> npt.NDArray[np.bool_]:
    """Return the splits by a number with most rows to the left. Without a number above the threshold, none turns."""
    split = ~tree.is_leaf & np.isfinite(tree.threshold) & ~np.isin(np.arange(len(tree.left)), list(tree.members))
    return split & (tree.rows[tree.left] > tree.rows[tree.right])


def _turn(tree: Tree, columns: int, kind: type[np.floating[Any]], *, with_missing: bool) -> Tree:
    at = _find_turned(tree)
    above = np.nextafter(tree.threshold.astype(kind), kind(np.inf)).astype(np.float64)
    return replace(
        tree,
        feature=np.where(at, tree.feature + columns, tree.feature),
        threshold=np.where(at, -above, tree.threshold),
        left=np.where(at, tree.right, tree.left),
        right=np.where(at, tree.left, tree.right),
        missing_left=np.where(at & with_missing, ~tree.missing_left, tree.missing_left),
    )
