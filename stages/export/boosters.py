"""The trees of boosters, from the dumps of their own libraries."""

import json
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.estimators.steps import UNKNOWN_CODES
from stages.export.trees import Double, Ensemble, Ints, Tree

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
"""Bits of LightGBM's `decision_type`; the next two are how missing values are recognised."""
_NAN = 2
_BITS = 32


def extract(estimator: Any) -> Ensemble | None:
    """Return the trees of a fitted booster; None if it is none."""
    estimator = getattr(estimator, "estimator_", estimator)
    match type(estimator).__module__.partition(".")[0]:
        case "lightgbm":
            return _lightgbm(estimator.booster_)
        case "xgboost":
            return _xgboost(json.loads(estimator.get_booster().save_raw("json"))["learner"])
        case "catboost":
            with tempfile.NamedTemporaryFile() as file:
                estimator.save_model(file.name, format="json")
                return _catboost(json.load(file))
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
        rows=np.concatenate([_numbers(lines.get("internal_count")), _numbers(lines.get("leaf_count", "0"))]),
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


def _xgboost(learner: dict[str, Any]) -> Ensemble:
    """Return trees of single precision; the first ones, of one leaf each, hold the base, with which XGBoost begins."""
    about, model = learner["learner_model_param"], learner["gradient_booster"]["model"]
    base = np.array(about["base_score"].strip("[]").split(","), dtype=np.float32)
    if learner["objective"]["name"] == "binary:logistic":
        base = -np.log(1 / base - 1)
    base = np.resize(base, max(int(about["num_class"]), 1))
    trees = [_leaf(float(value), target) for target, value in enumerate(base)]
    trees += [_xgboost_tree(tree, target) for tree, target in zip(model["trees"], model["tree_info"], strict=True)]
    return Ensemble(trees, np.zeros(len(base)), raw=True, single=True)


def _leaf(value: float, target: int) -> Tree:
    nowhere = np.array([-1])
    never = np.zeros(1, dtype=bool)
    return Tree(
        nowhere, np.zeros(1), nowhere, nowhere, never, np.array([[value]], dtype=np.float64), target, np.ones(1)
    )


def _xgboost_tree(tree: dict[str, Any], target: int) -> Tree:
    """Return a tree whose numbers below a threshold go to the left, and whose categories in a set to the right."""
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    conditions = np.array(tree["split_conditions"], dtype=np.float32)
    starts = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
    codes = np.array(tree["categories"], dtype=np.int64) - UNKNOWN_CODES
    members = {node: codes[start : start + size] for node, start, size in starts}
    by_category = np.isin(np.arange(len(left)), list(members))
    return Tree(
        feature=np.array(tree["split_indices"]),
        threshold=np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64),
        left=np.where(by_category, right, left),
        right=np.where(by_category, left, right),
        missing_left=np.array(tree["default_left"], dtype=bool) & ~by_category,
        values=conditions.astype(np.float64).reshape(-1, 1),
        first_target=target,
        rows=np.array(tree["sum_hessian"], dtype=np.float64),
        members=members,
    )


def _catboost(model: dict[str, Any]) -> Ensemble:
    """Return complete trees: all nodes of a level have the same split."""
    scale, bias = model["scale_and_bias"]
    features = model["features_info"]["float_features"]
    missing_left = np.array([each["nan_value_treatment"] != "AsTrue" for each in features])
    trees = [_catboost_tree(tree, missing_left, scale, len(bias)) for tree in model["oblivious_trees"]]
    return Ensemble(trees, np.array(bias, dtype=np.float64), raw=True)


def _catboost_tree(tree: dict[str, Any], missing_left: npt.NDArray[np.bool_], scale: float, targets: int) -> Tree:
    """Return the nodes level by level; a leaf's number has a bit for each split, the last one decides first."""
    splits = tree["splits"][::-1]
    leaves = scale * np.array(tree["leaf_values"]).reshape(-1, targets)
    inner = len(leaves) - 1
    level = np.repeat(np.arange(len(splits)), 2 ** np.arange(len(splits)))
    feature = np.array([each["float_feature_index"] for each in splits], dtype=np.int64)[level]
    border = np.array([each["border"] for each in splits], dtype=np.float64)[level]
    left = 2 * np.arange(inner) + 1
    rows = np.array(tree["leaf_weights"], dtype=np.float64)
    levels = [rows.reshape(-1, size).sum(axis=1) for size in 2 ** np.arange(len(splits), -1, -1)]
    end, nowhere = np.zeros(len(leaves)), np.full(len(leaves), -1)
    return Tree(
        feature=np.concatenate([feature, nowhere]),
        threshold=np.concatenate([border, end]),
        left=np.concatenate([left, nowhere]),
        right=np.concatenate([left + 1, nowhere]),
        missing_left=np.concatenate([missing_left[feature], end.astype(bool)]),
        values=np.concatenate([np.zeros((inner, targets)), leaves]),
        first_target=0,
        rows=np.concatenate(levels),
    )
