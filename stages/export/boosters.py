"""The trees of boosters, from the dumps of their own libraries."""

from typing import Any

import numpy as np

from stages.estimators.steps import UNKNOWN_CODES
from stages.export.trees import Double, Ensemble, Ints, Tree

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
"""Bits of LightGBM's `decision_type`; the next two are how missing values are recognised."""
_NAN = 2
_BITS = 32


def extract(estimator: Any) -> Ensemble | None:
    """Return the trees of a fitted booster; None if it is none."""
    match type(estimator).__module__.partition(".")[0]:
        case "lightgbm":
            return _lightgbm(estimator.booster_)
    return None


def _lightgbm(booster: Any) -> Ensemble:
    targets = booster.num_model_per_iteration()
    blocks = booster.model_to_string().partition("\nend of trees")[0].split("\nTree=")[1:]
    trees = [_lightgbm_tree(block, number % targets) for number, block in enumerate(blocks)]
    return Ensemble(trees, np.zeros(targets), raw=True)


def _lightgbm_tree(block: str, target: int) -> Tree:
    """Parse a tree of a model's text: splits have numbers from 0, leaves from -1 downwards."""
    lines = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    leaves = _numbers(lines["leaf_value"])
    if len(leaves) == 1:
        lines = {}
    splits = len(leaves) - 1
    feature, kind = _integers(lines.get("split_feature")), _integers(lines.get("decision_type"))
    threshold = _numbers(lines.get("threshold"))
    by_category = kind & _CATEGORICAL > 0
    # Where training had no missing value, LightGBM takes 0 for it.
    as_nan = kind >> 2 & 3 == _NAN
    missing_left = np.where(as_nan, kind & _DEFAULT_LEFT > 0, threshold >= 0) & ~by_category
    children = [_integers(lines.get(f"{side}_child")) for side in ("left", "right")]
    left, right = (np.where(each < 0, splits + ~each, each) for each in children)
    end, nowhere = np.zeros(len(leaves)), np.full(len(leaves), -1)
    return Tree(
        feature=np.concatenate([feature, nowhere]),
        threshold=np.concatenate([np.where(by_category, 0, threshold), end]),
        left=np.concatenate([left, nowhere]),
        right=np.concatenate([right, nowhere]),
        missing_left=np.concatenate([missing_left, end.astype(bool)]),
        values=np.concatenate([np.zeros(splits), leaves]).reshape(-1, 1),
        first_target=target,
        members=_lightgbm_members(lines, np.flatnonzero(by_category), threshold),
    )


def _lightgbm_members(lines: dict[str, str], nodes: Ints, threshold: Double) -> dict[int, Ints]:
    """Return the codes that go to the left, by node; its threshold is the number of its set, written in bits."""
    starts, words = _integers(lines.get("cat_boundaries")), _integers(lines.get("cat_threshold"))
    members = {}
    for node in nodes.tolist():
        place = int(threshold[node])
        chosen = words[starts[place] : starts[place + 1]]
        bits = chosen[:, None] >> np.arange(_BITS) & 1
        members[node] = np.flatnonzero(bits.reshape(-1)) - UNKNOWN_CODES
    return members


def _numbers(text: str | None) -> Double:
    return np.array((text or "").split(), dtype=np.float64)


def _integers(text: str | None) -> Ints:
    return np.array((text or "").split(), dtype=np.int64)
